"""The turn that runs in a session: its clock, what was wished of it meanwhile, and how its end is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from shared.agents.driver import TurnEnd
from shared.domain.ask import Answer
from shared.domain.budget import Exhausted
from shared.domain.event import storable
from shared.domain.session import EndReason
from shared.domain.turn import Ending, Turn, TurnStatus
from workers.host.clocks import Countdown


class Cut(Enum):
    """Why a turn is being stopped before the agent says that it is done."""

    CANCELLED = auto()
    LIMIT = auto()
    DRAINED = auto()
    SESSION_ENDS = auto()


@dataclass(slots=True)
class Held:
    """A turn that has begun and waits for a human, since a budget is spent; later perhaps for room in one."""

    exhausted: Exhausted
    answer: Answer | None = None
    """What the human said, until it is taken into account."""
    is_lifted: bool = False
    """It may go on as soon as there is room."""


@dataclass(slots=True)
class RunningTurn:
    """One turn from its start to its terminal event."""

    turn: Turn
    started_s: float
    countdown: Countdown | None
    cut: Cut | None = None
    is_sent: bool = False
    """Whether its prompt has been handed to the agent."""
    offset: int = 0
    """Where its prompt begins among the bytes the agent was sent."""
    misses: int = 0
    """How many agents ended before they could read the prompt."""
    sent_again: bool = False
    """Whether its prompt went to a second conversation, since the first was unknown to the agent."""
    is_uncounted: bool = False
    """Whether it counts as a turn of the session when its prompt is sent: it was held, and may never have run."""
    session_end: EndReason = field(default=EndReason.TERMINATED)
    held: Held | None = None
    """Why its prompt must not reach the agent yet."""


def ending_of(end: TurnEnd, running: RunningTurn) -> Ending:
    """What the log says of a turn that ended as the agent tells, given what was wished of it.

    A turn the agent had completed by then stays completed.
    """
    told = Ending(
        end.status,
        storable(end.stop_reason),
        None if end.result_text is None else storable(end.result_text),
        None if end.error is None else storable(end.error),
        end.usage,
        end.cost_usd,
    )
    if running.cut is None or end.status is TurnStatus.COMPLETED:
        return told
    status, reason, error = _cut_short(running)
    return Ending(status, reason, told.result_text, error, told.usage, told.cost_usd)


def _cut_short(running: RunningTurn) -> tuple[TurnStatus, str, str | None]:
    match running.cut:
        case Cut.LIMIT:
            return TurnStatus.INTERRUPTED, "turn_limit", "The turn took longer than its limit."
        case Cut.DRAINED:
            return TurnStatus.INTERRUPTED, "worker_lost", "The worker was shut down during this turn."
        case Cut.SESSION_ENDS:
            ending = ending_with_session(running.session_end, None)
            return ending.status, ending.stop_reason, ending.error
        case _:
            return TurnStatus.CANCELLED, "cancelled", None


def ending_with_session(reason: EndReason, detail: str | None) -> Ending:
    """How a turn ends that is still open when its session does."""
    status = TurnStatus.CANCELLED if reason is EndReason.TERMINATED else TurnStatus.FAILED
    return Ending(status, f"session_{reason}", error=None if detail is None else storable(detail))


def failed(problem: str, reason: str = "error") -> Ending:
    """A turn that could not be carried out."""
    return Ending(TurnStatus.FAILED, reason, error=storable(problem))
