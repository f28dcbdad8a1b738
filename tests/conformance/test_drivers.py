"""Every driver keeps the contract of `shared/agents/driver.py`, with its agent run live."""

from __future__ import annotations

import pytest

from shared.agents.driver import (
    AskApplied,
    AskWithdrawn,
    Interrupt,
    Steer,
    SteerRefused,
    TurnEnd,
)
from shared.agents.registry import DRIVERS, find
from shared.domain.errors import UnknownAgent
from shared.domain.ids import mint_turn
from tests.conformance import recordings, shapes
from tests.conformance.harness import options_for
from tests.conformance.sayings import LIVE
from tests.conformance.scenarios import asked_of
from tests.conformance.walk import live_through

CASES = [
    pytest.param(agent, scenario, id=f"{agent}: {scenario.name}") for agent in LIVE for scenario in asked_of(agent)
]


@pytest.mark.parametrize(("agent", "scenario"), CASES)
def test_a_live_agent_goes_through_the_scenario(agent, scenario, tmp_path):
    options = options_for(tmp_path, LIVE[agent].command, scenario.mode)

    live_through(find(agent), options, scenario, LIVE[agent].prompts)


@pytest.mark.parametrize("agent", sorted(DRIVERS))
def test_an_interrupt_without_a_turn_does_no_harm(agent, tmp_path):
    dialogue = find(agent).dialogue(options_for(tmp_path, ["agent"]))
    dialogue.open()

    outputs = dialogue.send(Interrupt())

    assert not [output for output in outputs if isinstance(output, TurnEnd | AskApplied | AskWithdrawn)]


@pytest.mark.parametrize("agent", sorted(name for name, driver in DRIVERS.items() if driver.abilities.steer))
def test_a_steer_without_a_turn_is_refused(agent, tmp_path):
    dialogue = find(agent).dialogue(options_for(tmp_path, ["agent"]))
    dialogue.open()

    outputs = dialogue.send(Steer(mint_turn(), "faster"))

    assert [type(output) for output in outputs] == [SteerRefused]


@pytest.mark.parametrize("agent", sorted(DRIVERS))
def test_a_driver_is_found_by_its_own_name(agent):
    assert find(agent).name == agent


def test_an_unknown_agent_is_refused_with_the_known_ones():
    with pytest.raises(UnknownAgent) as refused:
        find("hal9000")

    assert refused.value.code == "unknown_agent"
    assert all(agent in refused.value.message for agent in DRIVERS)


RECORDED = [
    pytest.param(agent, case, id=f"{agent}/{case.name}") for agent in DRIVERS for case in recordings.cases(agent)
]


@pytest.mark.parametrize(("agent", "case"), RECORDED)
def test_a_recording_replays_to_the_same_outputs(agent, case):
    steps = recordings.read(case / "recording.jsonl")

    outputs = recordings.replay(find(agent), steps)

    assert [recordings.plain(output) for output in outputs] == recordings.read(case / "expected.jsonl")
    assert not shapes.misfits(outputs)
    assert not shapes.imbalances(outputs)
    sent = [step["send"] for step in steps if "send" in step]
    assert not shapes.ends_per_prompt(outputs, sum(said["is"] in {"Prompt", "Command"} for said in sent))
    assert not shapes.answers_per_steer(outputs, [said["turn"] for said in sent if said["is"] == "Steer"])
    assert case.joinpath("provenance.md").read_text()
