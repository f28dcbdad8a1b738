"""Records the scenarios of a live agent anew: `python -m tests.conformance.record demo`.

Read the difference before you commit it: it is what the change of an agent or its driver means to callers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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
        [*LIVE[agent].command, *find(agent).version_args], capture_output=True, text=True, check=True
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
    recordings.write(case / "recording.jsonl", hosted.steps)
    recordings.write(case / "expected.jsonl", [recordings.plain(output) for output in hosted.outputs])
    case.joinpath("provenance.md").write_text(PROVENANCE.format(name=scenario.name, agent=agent, version=version))


if __name__ == "__main__":
    record(sys.argv[1])
