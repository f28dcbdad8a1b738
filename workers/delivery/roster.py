"""The lanes this process holds, and the receivers they post to: taking lanes, telling them news, giving them up."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from shared.domain import clock
from shared.domain.ids import EndpointId, Incarnation, SessionId, TenantId
from shared.domain.webhook import Delivery, Endpoint, EndpointScope, EndpointStatus, LaneKey
from shared.store import deliveries, lanes
from shared.store.database import Connection
from shared.store.endpoints import EndpointStore
from shared.store.lanes import NO_EVENTS, LaneMove, LaneRow
from shared.telemetry import metrics
from workers.delivery.cuts import EventCuts, Source, TurnNotice
from workers.delivery.lanes import Lane, LaneLetGo, LaneLost, Tools
from workers.delivery.receiver import Receiver, ReceiverRules
from workers.delivery.send import Sender
from workers.delivery.writer import LaneWrite

log = structlog.get_logger(__name__)

CLAIMED_AT_ONCE = 50
"""Lanes taken in one transaction: on SQLite it holds the write lock."""
KNOWN = 100_000
"""Sessions whose last seq is remembered; a hint for one of them that tells nothing new costs nothing."""
FOREIGN_S = 10.0
"""A lane found in other hands is not looked at again for so long; its owner has the same hints."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the store says about lanes that might be taken."""

    rows: Mapping[LaneKey, LaneRow]
    starts: Mapping[LaneKey, int]
    endpoints: Mapping[EndpointId, Endpoint]
    last_seqs: Mapping[SessionId, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """A lane that is ours from now on, and what its former owner left in the middle."""

    row: LaneRow
    pending: Delivery | None


class Roster:
    """Holds lanes, each a task of `group`. Belongs to the loop; nothing here is for other threads."""

    def __init__(
        self, tools: Tools, rules: ReceiverRules, sender: Sender, group: asyncio.TaskGroup, *, lane_limit: int
    ) -> None:
        self._tools = tools
        self._rules = rules
        self._sender = sender
        self._group = group
        self._lane_limit = lane_limit
        self._lanes: dict[LaneKey, Lane] = {}
        self._tasks: dict[LaneKey, asyncio.Task[None]] = {}
        self._by_session: defaultdict[SessionId, set[Lane]] = defaultdict(set)
        self._by_endpoint: defaultdict[EndpointId, set[Lane]] = defaultdict(set)
        self._last_seqs: dict[SessionId, int] = {}
        self._foreign: dict[LaneKey, float] = {}
        self._is_ending = False
        self._waiting: dict[LaneKey, None] = {}
        self.receivers: dict[EndpointId, Receiver] = {}
        self.left_behind: set[SessionId] = set()
        """Sessions of lanes that ended with work still to do; discovery looks at them again."""

    def __len__(self) -> int:
        return len(self._lanes)

    def news(self, session: SessionId, last_seq: int) -> bool:
        """The log of `session` has grown to `last_seq`; False: that was known."""
        if self._last_seqs.get(session, -1) >= last_seq:
            return False
        if len(self._last_seqs) >= KNOWN:
            self._last_seqs.clear()
        self._last_seqs[session] = last_seq
        for lane in self._by_session.get(session, ()):
            lane.news(last_seq)
        return True

    def ring_queued(self, keys: Iterable[LaneKey]) -> list[LaneKey]:
        """Deliveries wait for these lanes; those that are not held."""
        missing = []
        for key in keys:
            lane = self._lanes.get(key)
            if lane is None:
                missing.append(key)
            else:
                lane.ring_queued()
        return missing

    def watchers(self) -> Mapping[TenantId, list[EndpointId]]:
        """Active endpoints of scope tenant, by tenant."""
        by_tenant: defaultdict[TenantId, list[EndpointId]] = defaultdict(list)
        for receiver in self.receivers.values():
            endpoint = receiver.endpoint
            if endpoint.scope is EndpointScope.TENANT and endpoint.status is EndpointStatus.ACTIVE:
                by_tenant[endpoint.tenant].append(endpoint.id)
        return by_tenant

    def serve(self, endpoint: Endpoint) -> Receiver:
        """The receiver of an endpoint, as it is now."""
        receiver = self.receivers.get(endpoint.id)
        if receiver is None:
            receiver = Receiver(endpoint, self._rules, self._sender, self._tools.writer, self._look_up)
            self.receivers[endpoint.id] = receiver
        else:
            receiver.renew(endpoint)
            self._look_up(endpoint.id)
        return receiver

    def drop(self, endpoint: EndpointId) -> None:
        """Serve no longer what has no lane here."""
        receiver = self.receivers.get(endpoint)
        if receiver is not None and endpoint not in self._by_endpoint:
            del self.receivers[endpoint]

    def forget_foreign(self) -> None:
        """Look at everybody's lanes again: somebody left, or time has passed."""
        self._foreign.clear()

    async def adopt(self, keys: Iterable[LaneKey]) -> int:
        """Take those of `keys` that are nobody's, and run them; how many. Makes lanes that are not there."""
        wanted = self._wanted(keys)
        taken = 0
        for start in range(0, len(wanted), CLAIMED_AT_ONCE):
            taken += await self._adopt(wanted[start : start + CLAIMED_AT_ONCE])
        return taken

    async def adopt_waiting(self) -> None:
        """Take the lanes there was no room for, as far as there is now; idle ones make room for the next time."""
        waiting, self._waiting = self._waiting, {}
        await self.adopt(waiting)
        idle = [lane for lane in self._lanes.values() if lane.is_idle] if self._waiting else []
        for lane in idle[: len(self._waiting)]:
            lane.end()

    async def end(self, timeout_s: float) -> None:
        """Let requests in flight end, and the rest of the lanes at once."""
        self._is_ending = True
        for key, lane in list(self._lanes.items()):
            lane.end()
            if not lane.is_busy:
                self._tasks[key].cancel()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()

    def _wanted(self, keys: Iterable[LaneKey]) -> list[LaneKey]:
        now = time.monotonic()
        room = self._lane_limit - len(self._lanes)
        wanted = [
            key
            for key in dict.fromkeys(keys)
            if key not in self._lanes and self._foreign.get(key, 0.0) <= now and not self._is_disabled(key.endpoint)
        ]
        if self._is_ending:
            return []
        self._waiting.update(dict.fromkeys(wanted[max(0, room) : KNOWN]))
        return wanted[: max(0, room)]

    def _is_disabled(self, endpoint: EndpointId) -> bool:
        receiver = self.receivers.get(endpoint)
        return receiver is not None and not receiver.is_served

    async def _adopt(self, keys: Sequence[LaneKey]) -> int:
        survey = await self._tools.reader.run(_survey(keys, self._tools.store))
        free = [key for key in keys if self._is_free(key, survey)]
        if not free:
            return 0
        taken = await self._tools.writer.run(_take(free, survey, self._tools.me))
        mine = {one.row.key for one in taken}
        self._foreign.update((key, time.monotonic() + FOREIGN_S) for key in free if key not in mine)
        for one in taken:
            self._start(one, survey)
        return len(taken)

    def _is_free(self, key: LaneKey, survey: Survey) -> bool:
        endpoint = survey.endpoints.get(key.endpoint)
        row = survey.rows.get(key)
        if endpoint is None:
            self.drop(key.endpoint)
        if endpoint is None or key.session not in survey.last_seqs or (row is not None and row.owner is not None):
            self._foreign[key] = time.monotonic() + FOREIGN_S
            return False
        if endpoint.status is EndpointStatus.DISABLED:
            return False
        return key not in self._lanes

    def _start(self, taken: Taken, survey: Survey) -> None:
        row = taken.row
        receiver = self.receivers.get(row.key.endpoint) or self.serve(survey.endpoints[row.key.endpoint])
        lane = Lane(row, receiver, self._source(row, receiver, survey), self._tools)
        if taken.pending is not None:
            lane.resume(taken.pending)
        self._lanes[row.key] = lane
        self._by_session[row.key.session].add(lane)
        self._by_endpoint[row.key.endpoint].add(lane)
        # A hint may have come between the survey and now.
        lane.news(self._last_seqs.get(row.key.session, 0))
        metrics.DELIVERY_LANES.set(len(self._lanes))
        self._tasks[row.key] = self._group.create_task(self._host(lane, row))

    def _source(self, row: LaneRow, receiver: Receiver, survey: Survey) -> Source:
        if receiver.endpoint.scope is EndpointScope.TURN:
            return TurnNotice(row, receiver.endpoint)
        last_seq = survey.last_seqs[row.key.session]
        return EventCuts(row, last_seq, window_s=self._tools.window_s, now=time.monotonic())

    async def _host(self, lane: Lane, row: LaneRow) -> None:
        try:
            await lane.run()
        except LaneLetGo:
            if lane.has_work and not self._is_ending:
                self.left_behind.add(lane.key.session)
        except LaneLost:
            log.warning("lane.lost", endpoint=lane.key.endpoint, session=lane.key.session)
        except Exception:
            # One lane's trouble is not the others'. It is found again as an orphan, some seconds later.
            log.exception("lane.failed", endpoint=lane.key.endpoint, session=lane.key.session)
            move = LaneMove(row.key, row.epoch, row.cursor, row.sent_seq, clock.now(), is_let_go=True)
            await self._tools.writer.write(LaneWrite(move))
        finally:
            self._remove(lane)

    def _remove(self, lane: Lane) -> None:
        key = lane.key
        del self._lanes[key], self._tasks[key]
        for index, name in ((self._by_session, key.session), (self._by_endpoint, key.endpoint)):
            held = index[name]  # type: ignore[index] # each index with its own kind of name
            held.discard(lane)
            if not held:
                del index[name]  # type: ignore[arg-type] # as above
        metrics.DELIVERY_LANES.set(len(self._lanes))
        if lane.receiver.endpoint.scope is not EndpointScope.TENANT:
            self.drop(lane.receiver.id)

    def _look_up(self, endpoint: EndpointId) -> None:
        for lane in self._by_endpoint.get(endpoint, ()):
            lane.look_up()


def _survey(keys: Collection[LaneKey], store: EndpointStore) -> Callable[[Connection], Survey]:
    def work(connection: Connection) -> Survey:
        rows = lanes.found(connection, keys)
        endpoints = {one.id: one for one in store.named(connection, {key.endpoint for key in keys})}
        starts = {
            key: lanes.start_cursor(connection, endpoints[key.endpoint], key.session)
            for key in keys
            if key not in rows and key.endpoint in endpoints
        }
        moved = lanes.heads_of(connection, {key.session for key in keys})
        return Survey(rows, starts, endpoints, {head.session: head.last_seq for head in moved})

    return work


def _take(keys: Sequence[LaneKey], survey: Survey, me: Incarnation) -> Callable[[Connection], list[Taken]]:
    def work(connection: Connection) -> list[Taken]:
        taken = []
        # In one order, as every transaction that locks several lanes.
        for key in sorted(keys, key=lambda key: (key.endpoint, key.session)):
            if key not in survey.rows:
                cursor = survey.starts[key]
                # A callback's lane is due from the first: nothing else would show that it has work.
                lanes.ensure(connection, key, cursor=cursor, due_at=clock.now() if cursor == NO_EVENTS else None)
            row = lanes.claim(connection, key, me)
            if row is not None:
                taken.append(Taken(row, deliveries.pending_of(connection, key)))
        return taken

    return work
