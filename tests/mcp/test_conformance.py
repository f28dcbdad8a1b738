"""The protocol's own conformance suite against a running API, for both revisions that are served.

The suite is made for a server that shows everything the protocol has. Corral shows tools that do something, so some
scenarios cannot pass; each failed check must have one of the reasons below, which docs/mcp.md explains, and no other.
"""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.mcp.programs import node, program

SUITE = "@modelcontextprotocol/conformance/dist/index.js"
SUITE_S = 300

REASONS = {
    "a tool of the suite's own server": re.compile(
        r"Unknown tool: test_|[Tt]ool 'json_schema_2020_12_tool' not found|does not list the diagnostic tool"
        r"|server exposes no tool with x-mcp-header annotations|Expected InputRequiredResult|Prerequisite failed"
    ),
    "resources, prompts, completion and logging are not served": re.compile(r"Method not found|-32601"),
}
"""Prerequisite and expected-result failures follow from the tool that is not there."""
TASKS = "tasks-"
"""An extension of the protocol that is not served; the suite does not score it."""
PASSED = {
    "2025-11-25": {"server-initialize", "ping", "tools-list", "dns-rebinding-protection"},
    "2026-07-28": {
        "tools-list",
        "dns-rebinding-protection",
        "http-header-validation",
        "input-required-result-unsupported-methods",
        "input-required-result-validate-input",
        "sep-2164-resource-not-found",
    },
}
"""Scenarios that must pass whole: those that need none of the above."""


def checks(folder):
    """Every check by scenario."""
    for file in sorted(folder.glob("*/checks.json")):
        scenario = re.sub(r"-20\d\d-\d\d-\d\dT.*", "", file.parent.name).removeprefix("server-")
        yield from ((scenario, check) for check in json.loads(file.read_text(encoding="utf-8")))


@pytest.mark.timeout(SUITE_S + 60)
@pytest.mark.parametrize("revision", sorted(PASSED))
def test_the_suite_finds_nothing_that_is_not_explained(open_url, tmp_path, revision):
    command = [node(), program(SUITE), "server", "--url", f"{open_url}/mcp", "--requirements", revision, "-o", tmp_path]
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SUITE_S, check=False)

    found = list(checks(tmp_path))
    failed = [(scenario, check) for scenario, check in found if check["status"] == "FAILURE"]
    unexplained = [
        (scenario, check["id"], check.get("errorMessage"))
        for scenario, check in failed
        if not scenario.startswith(TASKS)
        and not any(reason.search(check.get("errorMessage") or "") for reason in REASONS.values())
    ]
    assert not unexplained, ran.stdout[-2000:]
    assert PASSED[revision] <= {scenario for scenario, _ in found}, "ran"
    assert not PASSED[revision] & {scenario for scenario, _ in failed}, "passed whole"
