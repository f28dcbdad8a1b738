"""The protocol's Inspector, as somebody would look at a running Corral with it: over both transports."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.mcp.programs import node, program

INSPECTOR = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
TOOL_FAILED = 5
"""Its exit status for a result with `isError`."""


@pytest.fixture
def inspect(open_url, tmp_path):
    """Runs the Inspector on a path of the API; gives what it prints."""

    def inspected(path: str, *arguments: str, status: int = 0) -> dict:
        command = [node(), program(INSPECTOR), "--cli", f"{open_url}{path}", *arguments]
        ran = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"HOME": str(tmp_path), "PATH": str(Path(node()).parent)},
        )
        assert ran.returncode == status, ran.stderr + ran.stdout
        return json.loads(ran.stdout)

    return inspected


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
def test_it_lists_tools_whose_schemas_every_client_can_read(inspect, path):
    tools = {tool["name"]: tool for tool in inspect(path, "--method", "tools/list", "--strict")["tools"]}

    assert {"session_start", "session_wait", "send_prompt"} <= tools.keys()
    assert tools["session_list"]["annotations"]["readOnlyHint"] is True


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
def test_it_calls_a_tool_and_is_told_what_is_wrong_with_another(inspect, path):
    call = ("--method", "tools/call", "--tool-name")

    assert inspect(path, *call, "session_list")["structuredContent"]["sessions"] == []
    failed = inspect(path, *call, "session_kill", "--tool-arg", "sessionId=ses_none", status=TOOL_FAILED)
    assert failed["isError"] is True
