"""Takes a hosted agent through one turn of a scenario and checks what came of it."""

from __future__ import annotations

from collections.abc import Mapping

from shared.agents.driver import AskOpen, Emit, Interrupt, Reply, Steered, TurnEnd
from shared.domain.event import EventType
from tests.conformance.harness import Hosted
from tests.conformance.scenarios import Instead, Turn


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
