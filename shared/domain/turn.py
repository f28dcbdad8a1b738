"""A turn: one accepted prompt and everything the agent did about it, until its one terminal event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId, TurnId
from shared.domain.json import JsonObject
from shared.domain.usage import CostSource, Spent, Usage


class TurnStatus(StrEnum):
    """Where a turn is. The last four are terminal."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        """Whether the turn has its terminal event."""
        return self in TERMINAL_TURN


TERMINAL_TURN = frozenset({TurnStatus.COMPLETED, TurnStatus.FAILED, TurnStatus.CANCELLED, TurnStatus.INTERRUPTED})
OPEN_TURN = frozenset({TurnStatus.QUEUED, TurnStatus.RUNNING, TurnStatus.WAITING})

TURN_MOVES: Mapping[TurnStatus, frozenset[TurnStatus]] = {
    TurnStatus.QUEUED: frozenset({TurnStatus.RUNNING}) | TERMINAL_TURN,
    # Back to queued: a lost worker's turn runs again as the next attempt (`on_worker_loss: continue`).
    TurnStatus.RUNNING: frozenset({TurnStatus.WAITING, TurnStatus.QUEUED}) | TERMINAL_TURN,
    TurnStatus.WAITING: frozenset({TurnStatus.RUNNING, TurnStatus.QUEUED}) | TERMINAL_TURN,
    TurnStatus.COMPLETED: frozenset(),
    TurnStatus.FAILED: frozenset(),
    TurnStatus.CANCELLED: frozenset(),
    TurnStatus.INTERRUPTED: frozenset(),
}
"""The legal moves; `docs/state-machines.md` draws this table."""

MAX_ATTEMPTS = 3
"""A turn whose worker was lost this often is `failed{poison}`: it may be what kills them."""


class WhenBusy(StrEnum):
    """What a prompt does when the session is busy."""

    QUEUE = "queue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    STEER = "steer"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as stored."""

    id: TurnId
    session: SessionId
    position: float
    """Order in the session's line; lower runs first."""
    status: TurnStatus
    text: str
    source: str
    callback_url: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stop_reason: str | None
    result_text: str | None
    error: str | None
    usage: Usage | None
    cost_usd: float | None
    cost_source: CostSource | None = None
    confirm: bool = False
    """Whether it stops at a checkpoint: a human must allow it before its prompt reaches an agent."""
    command: str | None = None
    """Name of the slash command this turn is, without the slash; `text` is then the command as one would type it."""

    @property
    def args(self) -> str:
        """What follows the command's name."""
        return "" if self.command is None else self.text.removeprefix(command_text(self.command, "")).strip()


def command_text(name: str, args: str) -> str:
    """A command as one would type it."""
    return f"/{name} {args}".rstrip()


_CHECKPOINT: Final = re.compile(r"\s*confirm:\s*", re.IGNORECASE)


def split_checkpoint(text: str) -> tuple[str, bool]:
    """A prompt without the `confirm:` at its start, and whether there was one.

    Raises:
        InvalidField: nothing comes behind it.
    """
    match = _CHECKPOINT.match(text)
    if match is None:
        return text, False
    rest = text[match.end() :]
    if not rest.strip():
        raise InvalidField("text", "has nothing to run behind confirm:")
    return rest, True


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ended: what its row keeps and what `turn_ended` tells."""

    status: TurnStatus
    stop_reason: str
    result_text: str | None = None
    error: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    cost_source: CostSource | None = None
    model: str | None = None
    """Which model did it, where that is known; None: the one the session asked for."""

    def with_spent(self, spent: Spent | None) -> Ending:
        """The same, with what the turn is known to have used; where nothing is known, or more already, as it is."""
        if spent is None or self.usage is not None or self.cost_usd is not None:
            return self
        return replace(self, usage=spent.usage, cost_usd=spent.cost_usd, cost_source=spent.cost_source)

    def data(self) -> JsonObject:
        """The data of the `turn_ended` event."""
        return {
            "status": self.status.value,
            "stop_reason": self.stop_reason,
            "result_text": self.result_text,
            "error": self.error,
            "usage": None if self.usage is None else dict(asdict(self.usage)),
            "cost_usd": self.cost_usd,
            "cost_source": None if self.cost_source is None else self.cost_source.value,
        }
