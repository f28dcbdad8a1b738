"""Records the scenarios of a live agent anew: `python -m tests.conformance.record demo`.

Read the difference before you commit it: it is what the change of an agent or its driver means to callers.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared.agents.driver import LaunchOptions
from shared.agents.registry import find
from tests.conformance import recordings
from tests.conformance.harness import Hosted, options_for
from tests.conformance.sayings import LIVE
from tests.conformance.scenarios import Scenario, asked_of
from tests.conformance.walk import go_through

PROVENANCE = """# {name}

Recorded by `python -m tests.conformance.record {agent}` from the scenario of this name in
`tests/conformance/scenarios.py`, with {version} run live.
`recording.jsonl` holds what went in and out of the driver, `expected.jsonl` what it gave.
"""


def record(agent: str) -> None:
    """Replace the agent's recordings of scenarios that one process lives through."""
    version = subprocess.run(
        [*LIVE[agent].command, *(find(agent).version_args or ("--version",))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for scenario in asked_of(agent):
        if scenario.restart_before is None:
            _record(agent, scenario, version)


def _record(agent: str, scenario: Scenario, version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = options_for(Path(folder), LIVE[agent].command, scenario.mode)
        with Hosted(find(agent), options) as hosted:
            for turn in scenario.turns:
                go_through(hosted, turn, LIVE[agent].prompts)
            if not hosted.ended:
                hosted.leave()
    case = recordings.FOLDER / agent / re.sub(r"[^a-z]+", "-", scenario.name).strip("-")
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir(parents=True)
    recordings.write(case / "recording.jsonl", [_anywhere(step, options) for step in hosted.steps])
    outputs = [recordings.plain(output) for output in hosted.outputs]
    recordings.write(case / "expected.jsonl", [_anywhere(output, options) for output in outputs])
    case.joinpath("provenance.md").write_text(PROVENANCE.format(name=scenario.name, agent=agent, version=version))


def _anywhere(value: Any, options: LaunchOptions) -> Any:
    """`value` as it would be where `recordings.replay` puts the agent."""
    text = json.dumps(value).replace(options.cwd, recordings.WORKSPACE).replace(options.home, recordings.HOME)
    return json.loads(text)


if __name__ == "__main__":
    record(sys.argv[1])
