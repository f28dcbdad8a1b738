"""The asks of one session that wait for a human, and what the agent is told when nobody answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from shared.agents.driver import AskOpen
from shared.domain.ask import (
    CORRALS_REF,
    NETWORK_REF,
    Answer,
    Ask,
    AskKind,
    AskStatus,
    PermissionAnswer,
    PlanAnswer,
    QuestionAnswer,
    Verdict,
)
from shared.domain.ids import AskId, SessionId, TurnId, mint_ask

BUDGET_REF: Final = f"{CORRALS_REF}budget"
"""The ask that is Corral's own: whether a turn may begin beyond a budget. No agent hears of it."""
NOBODY: Final = "Nobody answered in time."


@dataclass(slots=True)
class OpenAsk:
    """One ask the agent waits for."""

    id: AskId
    ref: str
    kind: AskKind
    turn: TurnId | None
    expires_s: float | None
    """In the loop's time."""
    is_expired: bool = False
    """Whether what the agent is being told is that nobody answered."""
    is_checkpoint: bool = False
    """Whether a turn is held at a checkpoint by it."""

    @property
    def is_ours(self) -> bool:
        """Whether Corral asks, and no agent waits."""
        return self.is_checkpoint or self.ref == BUDGET_REF

    @property
    def is_network(self) -> bool:
        """Whether Corral asks, and a connection of the agent waits: it ends with the agent."""
        return self.ref.startswith(NETWORK_REF)


class Pending:
    """All of them. Pure; times are the loop's."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._open: dict[str, OpenAsk] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def __iter__(self) -> Iterator[OpenAsk]:
        return iter(list(self._open.values()))

    def open(self, said: AskOpen, session: SessionId, turn: TurnId | None, *, at: datetime, now: float) -> Ask:
        """Note a new ask; the row to be stored. A timeout of 0 never expires."""
        lasts_s = self._timeout_s or None
        ask = Ask(
            id=mint_ask(),
            session=session,
            turn=turn,
            kind=said.kind,
            status=AskStatus.OPEN,
            ref=said.ref,
            data=said.data,
            answer=None,
            answered_by=None,
            answered_via=None,
            created_at=at,
            expires_at=None if lasts_s is None else at + timedelta(seconds=lasts_s),
            resolved_at=None,
        )
        self.adopt(ask, at=at, now=now)
        return ask

    def adopt(self, ask: Ask, *, at: datetime, now: float) -> None:
        """Note an ask whose row is there already."""
        expires_s = None if ask.expires_at is None else now + (ask.expires_at - at).total_seconds()
        self._open[ask.ref] = OpenAsk(ask.id, ask.ref, ask.kind, ask.turn, expires_s, is_checkpoint=ask.is_checkpoint)

    @property
    def is_held(self) -> bool:
        """Whether the turn is held at a checkpoint."""
        return any(ask.is_checkpoint for ask in self._open.values())

    def by_id(self, ask: AskId) -> OpenAsk | None:
        """The ask with this id, where the agent still waits for it."""
        return next((one for one in self._open.values() if one.id == ask), None)

    def close(self, ref: str) -> OpenAsk | None:
        """The agent no longer waits for `ref`."""
        return self._open.pop(ref, None)

    def close_all(self) -> list[OpenAsk]:
        """Nobody waits for anything any more."""
        closed = list(self._open.values())
        self._open.clear()
        return closed

    def close_agents(self) -> list[OpenAsk]:
        """The agent waits for nothing any more."""
        closed = [ask for ask in self._open.values() if not ask.is_ours]
        self._open = {ref: ask for ref, ask in self._open.items() if ask.is_ours}
        return closed

    @property
    def next_expiry_s(self) -> float | None:
        """When the first of them expires."""
        return min((ask.expires_s for ask in self._open.values() if ask.expires_s is not None), default=None)

    def due(self, now: float) -> list[OpenAsk]:
        """Those nobody answered in time."""
        return [ask for ask in self._open.values() if ask.expires_s is not None and ask.expires_s <= now]


def refusal(kind: AskKind) -> Answer:
    """What the agent is told when nobody answered."""
    match kind:
        case AskKind.PERMISSION:
            return PermissionAnswer(Verdict.DENY, message=NOBODY)
        case AskKind.QUESTION:
            return QuestionAnswer(None, message=NOBODY)
        case AskKind.PLAN:
            return PlanAnswer(approve=False, feedback=NOBODY)
        case _:
            assert_never(kind)
