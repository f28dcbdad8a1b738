"""A checkpoint: a turn is held before its prompt reaches any agent, until a human lets it go, or nobody does.

No agent takes part, so neither a lost worker nor a restart harms it: the next host holds the same turn with the same
ask. Each way out is one commit, so that the turn is never let go twice. For the session's own task.
"""

from __future__ import annotations

from typing import Final

from shared.agents.driver import AskOpen
from shared.domain import clock
from shared.domain.ask import Answer, Ask, AskKind, PermissionAnswer, Verdict, checkpoint_ref
from shared.domain.session import SessionStatus
from shared.domain.turn import Ending, Turn, TurnStatus
from workers.host import facts
from workers.host.commits import Vetoed
from workers.host.facts import Fact
from workers.host.pending import NOBODY, OpenAsk
from workers.host.reading import Known
from workers.host.seat import Seat
from workers.host.turn import RunningTurn

TOOL: Final = "prompt"
"""What is asked for, as permissions name it."""


def opens(seat: Seat, turn: Turn) -> Fact:
    """The ask before `turn`. Where it cannot be committed, `forget` it."""
    said = AskOpen(
        checkpoint_ref(turn.id),
        AskKind.PERMISSION,
        {
            "tool_name": TOOL,
            "input": {"text": turn.text},
            "description": "This prompt runs when somebody allows it.",
            "checkpoint": True,
        },
    )
    ask = seat.talk.pending.open(said, seat.id, turn.id, at=clock.now(), now=seat.now())
    return facts.ask_opens(ask, seat.session.tenant)


def forget(seat: Seat, turn: Turn) -> None:
    """It was not opened after all."""
    seat.talk.pending.close(checkpoint_ref(turn.id))


def hold(seat: Seat, running: RunningTurn) -> None:
    """The turn has begun and waits; its ask is open."""
    running.is_uncounted = True
    seat.status = SessionStatus.WAITING
    seat.talk.begin(running)
    seat.talk.wait()


def held_in(known: Known) -> tuple[Turn, Ask] | None:
    """The turn that an earlier host held, with its ask."""
    left = {turn.id: turn for turn in known.left_turns}
    found = [(left[ask.turn], ask) for ask in known.left_asks if ask.is_checkpoint and ask.turn in left]
    return found[0] if found else None


def hold_again(seat: Seat, running: RunningTurn, ask: Ask) -> None:
    """Go on holding what an earlier host held."""
    seat.talk.pending.adopt(ask, at=clock.now(), now=seat.now())
    hold(seat, running)
    seat.teller.tell(Fact((), (facts.status_is(seat.id, SessionStatus.WAITING),)))


async def decide(seat: Seat, ask: OpenAsk, answer: Answer) -> None:
    """Let the turn go, or end it, as was answered.

    Raises:
        Fenced: the session is somebody else's.
    """
    running = seat.talk.turn
    if running is None:
        return
    applied = facts.ask_applies(ask.id, ask.kind, ask.turn, clock.now())
    if isinstance(answer, PermissionAnswer) and answer.decision is not Verdict.DENY:
        # Committed before a byte reaches the agent: whoever takes over must know that it may have.
        await seat.teller.commit(applied + facts.turn_is_let_go(running.turn))
        seat.talk.pending.close(ask.ref)
        seat.status = SessionStatus.RUNNING
        seat.talk.stop_waiting()
        seat.ring()
        return
    words = answer.message if isinstance(answer, PermissionAnswer) else None
    await _end(seat, ask, applied, Ending(TurnStatus.CANCELLED, "denied", error=words))


async def expire(seat: Seat, ask: OpenAsk) -> None:
    """Nobody answered: the turn ends, and the line goes on behind it.

    Raises:
        Fenced: the session is somebody else's.
    """
    expired = facts.ask_expires(ask.id, ask.kind, ask.turn, clock.now())
    try:
        await _end(seat, ask, expired, Ending(TurnStatus.CANCELLED, "expired", error=NOBODY))
    except Vetoed:
        # Somebody answered at the last moment: the answer is among the next inputs.
        seat.ring()


async def _end(seat: Seat, ask: OpenAsk, resolved: Fact, ending: Ending) -> None:
    running = seat.talk.turn
    if running is None:
        return
    duration_s = seat.now() - running.started_s
    await seat.teller.commit(resolved + facts.turn_ends(running.turn, ending, clock.now(), duration_s=duration_s))
    seat.talk.pending.close(ask.ref)
    seat.talk.over(ending)
