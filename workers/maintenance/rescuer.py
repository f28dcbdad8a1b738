"""Takes over the sessions of a lost worker: ends or repeats what ran, once, and leaves them to be claimed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from shared.domain import clock
from shared.domain.ask import Ask, AskStatus
from shared.domain.errors import Unavailable
from shared.domain.event import Draft, Event, EventType
from shared.domain.ids import Incarnation, SessionId, TurnId
from shared.domain.input import InputKind
from shared.domain.json import JsonObject
from shared.domain.session import OnWorkerLoss, SessionStatus
from shared.domain.turn import MAX_ATTEMPTS, Ending, Turn, TurnStatus
from shared.events import owner
from shared.events.codec import prepare
from shared.events.owner import Effect, Entry
from shared.store import asks, heads, inputs, ownership, sessions, turns, usage, workers
from shared.store.database import Connection, Database
from shared.store.heads import Head
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

TOGETHER: Final = 20
"""Sessions rescued in one transaction."""


@dataclass(frozen=True, slots=True)
class Rescuer:
    """One worker's means to rescue what others left.

    `kill_leftovers` ends every process on this machine that still carries the mark of one of these sessions.
    `committed` publishes what was appended. What another rescuer began is left to it for `patience_s`.
    """

    database: Database
    me: Incarnation
    kill_leftovers: Callable[[Collection[SessionId]], int]
    committed: Callable[[Sequence[Event]], None]
    patience_s: float
    orphaned_since: dict[Incarnation, float] = field(default_factory=dict)
    """When this worker first saw that sessions of a lost one still are that one's, on its monotonic clock."""

    def rescue(self, lost: Incarnation, *, beat: int | None = None) -> int:
        """Take over everything `lost` owned; how many sessions. Safe to repeat, also by several rescuers at once.

        Of several one does it all, and `finish` finds what it left. With `beat` only if the lost worker's counter
        still stands there: it may have come back in this moment.
        """
        with self.database.write() as connection:
            row = workers.lock(connection, lost)
            if row is None or (beat is not None and row.beat != beat) or row.state == "lost":
                return 0
            workers.set_state(connection, lost, "lost")
            owned = ownership.owned_by(connection, lost)
        metrics.WORKERS_LOST.inc()
        log.warning("worker.lost", worker=row.name, incarnation=lost, sessions=len(owned))
        return self._take_over([head.session for head in owned], lost)

    def rescue_left_by(self, name: str) -> int:
        """Take over what earlier incarnations of worker `name` left: they are gone, whatever their beat says."""
        with self.database.read() as connection:
            earlier = workers.predecessors(connection, name, "worker", self.me)
        rescued = sum(self.rescue(row.incarnation) for row in earlier)
        with self.database.write() as connection:
            for row in earlier:
                if not ownership.owned_by(connection, row.incarnation):
                    workers.remove(connection, row.incarnation)
        return rescued

    def finish(self) -> int:
        """Take over what a rescuer that died in the middle left behind; how many sessions.

        Not at once: a rescuer that is at work must not have the agents killed that are started after it.
        """
        with self.database.read() as connection:
            left = {lost: ownership.owned_by(connection, lost) for lost in ownership.orphaning_owners(connection)}
        moment = time.monotonic()
        since = {lost: self.orphaned_since.get(lost, moment) for lost in left}
        self.orphaned_since.clear()
        self.orphaned_since.update(since)
        overdue = [lost for lost, first_s in since.items() if moment - first_s >= self.patience_s]
        # What fails again is tried again after as long a time.
        self.orphaned_since.update(dict.fromkeys(overdue, moment))
        return sum(self._take_over([head.session for head in left[lost]], lost) for lost in overdue)

    def _take_over(self, sessions: Sequence[SessionId], lost: Incarnation) -> int:
        if not sessions:
            return 0
        # Before anything is told: an agent that still writes must not outlive the word that its turn is over.
        self.kill_leftovers(frozenset(sessions))
        parts = [sessions[start : start + TOGETHER] for start in range(0, len(sessions), TOGETHER)]
        return sum(self._rescue_some(part, lost) for part in parts)

    def _rescue_some(self, sessions: Sequence[SessionId], lost: Incarnation) -> int:
        try:
            with self.database.write() as connection:
                entries = _entries(connection, sessions, lost)
                appended = owner.append_in(connection, entries)
        except Unavailable:
            raise
        except Exception:
            if len(sessions) > 1:
                return sum(self._rescue_some([one], lost) for one in sessions)
            # One that cannot be rescued keeps nobody else from it.
            log.exception("session.not_rescued", session=sessions[0])
            return 0
        self.committed(appended.events)
        metrics.SESSIONS_RESCUED.inc(len(entries))
        return len(entries)


def _entries(connection: Connection, sessions: Sequence[SessionId], lost: Incarnation) -> list[Entry]:
    """What is to be appended for those that `lost` still owned, which are nobody's now."""
    entries = []
    # In order of their ids, as everybody locks them.
    for session in sorted(sessions):
        epoch = ownership.take_over(connection, session, lost)
        if epoch is not None:
            plan = _plan(connection, session)
            entries.append(Entry(session, epoch, 1, [prepare(session, draft) for draft in plan.drafts], plan.effects))
    return entries


_Told = tuple[Draft, Effect]
"""An event, and the change of facts it tells."""


@dataclass(frozen=True, slots=True)
class _Plan:
    drafts: tuple[Draft, ...]
    effects: tuple[Effect, ...]


def _plan(connection: Connection, session: SessionId) -> _Plan:
    """What is to be told and changed about a session whose worker is gone."""
    moment = clock.now()
    head = heads.get(connection, session)
    if head is None:
        return _Plan((), ())
    repeats = sessions.on_worker_loss(connection, session) is OnWorkerLoss.CONTINUE
    cancelled = _cancelled(connection, head)
    open_turns = turns.open_turns(connection, session)
    unresolved = asks.unresolved_of(connection, session)
    begun = [turn for turn in open_turns if turn.status is not TurnStatus.QUEUED]
    held = {ask.turn for ask in unresolved if ask.is_checkpoint} - cancelled
    # No agent has any part in a turn that is held at its checkpoint: the next host goes on holding it.
    running = [turn for turn in begun if turn.id not in held]
    fates = [_fate(turn, repeats=repeats, is_cancelled=turn.id in cancelled) for turn in running]
    told = [_ask_lost(ask, moment) for ask in unresolved if not (ask.is_checkpoint and ask.turn in held)]
    told += [
        _repeat(turn) if fate is None else _end(turn, _with_spent(connection, turn, fate), moment)
        for turn, fate in zip(running, fates, strict=True)
    ]
    goes_on = None in fates or len(open_turns) > len(running)
    left = _leave(connection, head, moment if goes_on else None, is_held=len(begun) > len(running))
    drafts = [draft for draft, _ in told] + left.drafts
    return _Plan(tuple(drafts), (*(effect for _, effect in told), left.effect))


def _cancelled(connection: Connection, head: Head) -> set[TurnId | None]:
    """The turns whose cancel was accepted, and which their host did not come to stop."""
    waiting = inputs.after(connection, head.session, head.done_input)
    return {one.turn for one in waiting if one.kind is InputKind.CANCEL}


def _fate(turn: Turn, *, repeats: bool, is_cancelled: bool) -> Ending | None:
    """How a turn ends that ran on a lost worker; None: it runs again."""
    if is_cancelled:
        return Ending(TurnStatus.CANCELLED, "cancelled")
    if not repeats:
        return Ending(TurnStatus.INTERRUPTED, "worker_lost")
    if turn.attempt < MAX_ATTEMPTS:
        return None
    return Ending(TurnStatus.FAILED, "poison", error=f"The worker was lost {turn.attempt} times during this turn.")


def _with_spent(connection: Connection, turn: Turn, fate: Ending) -> Ending:
    """What the agent said to have used before its worker was lost was used."""
    return fate.with_spent(usage.told(connection, turn.session, turn.id))


@dataclass(frozen=True, slots=True)
class _Left:
    drafts: list[Draft]
    effect: Effect


def _leave(connection: Connection, head: Head, wanted_at: datetime | None, *, is_held: bool) -> _Left:
    is_reachable = head.portable or workers.has_volume(connection, head.volume_id)
    if is_held and is_reachable:
        return _Left([], _settled(head.session, SessionStatus.WAITING, wanted_at))
    if head.status is SessionStatus.STARTING and is_reachable:
        # Its agent was never up: it is to be started, now elsewhere, whoever asked for it.
        return _Left([], _settled(head.session, SessionStatus.STARTING, wanted_at or clock.now()))
    status = SessionStatus.PARKED if is_reachable else SessionStatus.STRANDED
    event = EventType.SESSION_PARKED if is_reachable else EventType.SESSION_STRANDED
    return _Left([Draft(event, {"reason": "worker_lost"})], _settled(head.session, status, wanted_at))


def _settled(session: SessionId, status: SessionStatus, wanted_at: datetime | None) -> Effect:
    return lambda on: ownership.settle(on, session, status, wanted_at)


def _ask_lost(ask: Ask, moment: datetime) -> _Told:
    reason = "answer_lost" if ask.status is AskStatus.ANSWERED else "worker_lost"

    def effect(on: Connection) -> None:
        asks.lose(on, ask.id, moment)

    data: JsonObject = {"ask_id": ask.id, "kind": ask.kind.value, "status": AskStatus.LOST.value, "reason": reason}
    return Draft(EventType.ASK_RESOLVED, data, ask.turn), effect


def _repeat(turn: Turn) -> _Told:
    def effect(on: Connection) -> None:
        turns.requeue(on, turn.id)

    data: JsonObject = {"kind": "turn_repeated", "reason": "worker_lost", "attempt": turn.attempt + 1}
    return Draft(EventType.NOTICE, data, turn.id), effect


def _end(turn: Turn, ending: Ending, moment: datetime) -> _Told:
    def effect(on: Connection) -> None:
        turns.end(on, turn.id, ending, moment)

    return Draft(EventType.TURN_ENDED, ending.data(), turn.id), effect
