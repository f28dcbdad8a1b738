"""Every driver keeps the contract of `shared/agents/driver.py`, with its agent run live."""

from __future__ import annotations

import pytest

from shared.agents.driver import (
    AskApplied,
    AskWithdrawn,
    Interrupt,
    ModeNow,
    Ready,
    Steer,
    SteerRefused,
    TurnEnd,
)
from shared.agents.registry import DRIVERS, find
from shared.domain.errors import UnknownAgent
from shared.domain.ids import mint_turn
from tests.conformance import recordings, shapes
from tests.conformance.harness import Hosted, options_for
from tests.conformance.sayings import LIVE
from tests.conformance.scenarios import Scenario, asked_of
from tests.conformance.walk import go_through

CASES = [
    pytest.param(agent, scenario, id=f"{agent}: {scenario.name}") for agent in LIVE for scenario in asked_of(agent)
]


@pytest.mark.parametrize(("agent", "scenario"), CASES)
def test_a_live_agent_goes_through_the_scenario(agent, scenario, tmp_path):
    # given
    driver, sayings = find(agent), LIVE[agent]
    options = options_for(tmp_path, sayings.command, scenario.mode)
    split = scenario.restart_before if scenario.restart_before is not None else len(scenario.turns)

    # when
    with Hosted(driver, options) as first:
        for turn in scenario.turns[:split]:
            go_through(first, turn, sayings.prompts)
        later = _resumed_options(first, scenario, tmp_path)
        _finish(first)
    if split < len(scenario.turns):
        with Hosted(driver, later) as second:
            for turn in scenario.turns[split:]:
                go_through(second, turn, sayings.prompts)
            _finish(second)

    # then
    assert scenario.mode_after is None or first.all(ModeNow)[-1].mode is scenario.mode_after


def _resumed_options(hosted: Hosted, scenario: Scenario, tmp_path):
    if not scenario.new_home:
        return hosted.again()
    home = tmp_path / "another home"
    home.mkdir()
    return hosted.again(home=str(home), transcript=tuple(hosted.transcript()))


def _finish(hosted: Hosted) -> None:
    """End the process, and hold everything it gave to the contract."""
    if not hosted.ended:
        hosted.leave()
    outputs = hosted.outputs
    assert not shapes.misfits(outputs)
    assert not shapes.imbalances(outputs)
    assert not shapes.ends_per_prompt(outputs, len(hosted.turns))
    assert not shapes.answers_per_steer(outputs, hosted.steers)
    assert len(hosted.all(Ready)) == 1
    assert not hosted.dialogue.feed('{"type":"text_delta"}')
    assert not hosted.dialogue.end(hosted.status)


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
