"""Takes a real agent through a scenario, turn by turn, and holds all that came of it to the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shared.agents.driver import (
    AskOpen,
    Driver,
    Emit,
    Interrupt,
    LaunchOptions,
    ModeNow,
    Ready,
    Reply,
    Steered,
    TurnEnd,
)
from shared.domain.event import EventType
from shared.domain.ids import mint_session
from tests.conformance import shapes
from tests.conformance.harness import DEADLINE_S, Hosted
from tests.conformance.scenarios import Instead, Scenario, Turn


def live_through(
    driver: Driver,
    options: LaunchOptions,
    scenario: Scenario,
    prompts: Mapping[str, str],
    *,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Run the agent, once or twice as the scenario says. `prompts` brings it to do what the turns name."""
    split = scenario.restart_before if scenario.restart_before is not None else len(scenario.turns)
    with Hosted(driver, options, deadline_s=deadline_s) as first:
        for turn in scenario.turns[:split]:
            go_through(first, turn, prompts)
        later = _resumed(first, scenario)
        _finish(first)
    if split < len(scenario.turns):
        with Hosted(driver, later, deadline_s=deadline_s) as second:
            for turn in scenario.turns[split:]:
                go_through(second, turn, prompts)
            _finish(second)
        assert scenario.forks is (_conversation(first) != _conversation(second))
    assert scenario.mode_after is None or first.all(ModeNow)[-1].mode is scenario.mode_after


def _resumed(hosted: Hosted, scenario: Scenario) -> LaunchOptions:
    if not scenario.new_home:
        return hosted.again()
    home = Path(hosted.options.home).with_name("another home")
    home.mkdir()
    changes = {"fork": True, "session": mint_session()} if scenario.forks else {}
    return hosted.again(home=str(home), transcript=tuple(hosted.transcript()), **changes)


def _conversation(hosted: Hosted) -> str | None:
    return hosted.all(Ready)[-1].agent_session_id


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


def go_through(hosted: Hosted, turn: Turn, prompts: Mapping[str, str]) -> None:
    """Prompt, answer as the turn says, and hold the outputs to what it promises."""
    before = len(hosted.outputs)
    if turn.says.startswith("/"):
        hosted.command(turn.says.removeprefix("/"))
    else:
        hosted.prompt(prompts[turn.says])
    if turn.on_first is not None:
        hosted.until(Emit, lambda emit: emit.type is turn.on_first)
        _instead(hosted, turn.then)
    if turn.steers is not None:
        steered = hosted.steer(prompts[turn.steers])
        hosted.until(Steered, lambda answer: answer.turn == steered)
    for kind, answer in zip(turn.asks, turn.answers, strict=True):
        ask = hosted.until(AskOpen)
        assert ask.kind is kind
        _instead(hosted, answer) if isinstance(answer, Instead) else hosted.say(Reply(ask.ref, answer))
    end = hosted.until(TurnEnd)

    outputs = hosted.outputs[before:]
    _check(turn, end, [output for output in outputs if isinstance(output, Emit)])
    assert len([output for output in outputs if isinstance(output, AskOpen)]) == len(turn.asks)


def _instead(hosted: Hosted, what: Instead | None) -> None:
    if what is Instead.INTERRUPT:
        hosted.say(Interrupt())
    elif what is Instead.KILL:
        hosted.kill()


def _check(turn: Turn, end: TurnEnd, emits: list[Emit]) -> None:
    kinds = {emit.type for emit in emits}
    said = "\n".join(str(emit.data["text"]) for emit in emits if emit.type is EventType.MESSAGE)
    results = [emit.data for emit in emits if emit.type is EventType.TOOL_RESULT]
    assert end.status is turn.status, end
    assert turn.stop_reason in {None, end.stop_reason}
    assert not set(turn.shows) - kinds
    assert not set(turn.lacks) & kinds
    assert turn.text is None or turn.text in said
    assert turn.tool_says is None or any(turn.tool_says in str(result["output"]) for result in results)
    assert turn.tool_fails in {None, any(result["is_error"] for result in results)}
