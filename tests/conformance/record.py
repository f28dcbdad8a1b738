"""Records the scenarios of an agent anew: `python -m tests.conformance.record demo`.

Read the difference before you commit it: it is what the change of an agent or its driver means to callers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.agents.registry import find
from tests.conformance import recordings
from tests.conformance.harness import Hosted, options_for
from tests.conformance.sayings import CODEX, LIVE, Sayings
from tests.conformance.scenarios import Scenario, asked_of
from tests.conformance.trimming import trimmed
from tests.conformance.walk import go_through
from tests.fakes.responses_server import serve
from tests.fixtures.agents import bundled_codex, codex_program

PROVENANCE = """# {name}

Recorded by `python -m tests.conformance.record {agent}` from the scenario of this name in
`tests/conformance/scenarios.py`, with {version} run live{where}.
`recording.jsonl` holds what went in and out of the driver, `expected.jsonl` what it gave.
"""
MODELLED = """ against a scripted model on loopback. Long texts are
cut, and what named the machine is renamed"""


def record(agent: str) -> None:
    """Replace the agent's recordings of scenarios that one process lives through."""
    with _sayings(agent) as (sayings, where):
        version = subprocess.run(
            [*sayings.command, *(find(agent).version_args or ("--version",))],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for scenario in asked_of(agent, sayings.prompts):
            if scenario.restart_before is None:
                provenance = PROVENANCE.format(name=scenario.name, agent=agent, version=version, where=where)
                _record(agent, sayings, scenario, provenance)


@contextmanager
def _sayings(agent: str) -> Iterator[tuple[Sayings, str]]:
    """How to bring the agent to each scenario, and what else takes part in that."""
    if agent in LIVE:
        yield LIVE[agent], ""
        return
    binary = bundled_codex()
    assert binary is not None, "`make setup-agents` installs it"
    with serve() as model:
        program = codex_program(binary, model)
        variables = [f"{name}={value}" for name, value in program.environment.items()]
        yield Sayings(("env", *variables, *program.command), CODEX), MODELLED


def _record(agent: str, sayings: Sayings, scenario: Scenario, provenance: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        options = options_for(place, sayings.command, scenario.mode)
        with Hosted(find(agent), options) as hosted:
            for turn in scenario.turns:
                go_through(hosted, turn, sayings.prompts)
            if not hosted.ended:
                hosted.leave()
    case = recordings.FOLDER / agent / re.sub(r"[^a-z]+", "-", scenario.name).strip("-")
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir(parents=True)
    steps = _kept(agent, hosted, {options.cwd: "/workspace", options.home: "/home/agent", str(place): "/place"})
    recordings.write(case / "recording.jsonl", steps)
    outputs = recordings.replay(find(agent), steps)
    recordings.write(case / "expected.jsonl", [recordings.plain(output) for output in outputs])
    case.joinpath("provenance.md").write_text(provenance)


def _kept(agent: str, hosted: Hosted, names: Mapping[str, str]) -> Sequence[object]:
    # Our own agent prints nothing of the machine, and its recordings are held to the byte.
    return hosted.steps if agent in LIVE else trimmed(hosted.steps, names)


if __name__ == "__main__":
    record(sys.argv[1])
