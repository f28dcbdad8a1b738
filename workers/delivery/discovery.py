"""Finds work: hints from Redis tell at once, a sweep of the store finds what hints missed, lost peers' lanes too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from shared.domain import clock
from shared.domain.errors import Unavailable
from shared.domain.ids import EndpointId, Incarnation, SessionId, TenantId, is_id
from shared.domain.lapse import LapseObserver
from shared.domain.webhook import Delivery, Endpoint, EndpointScope, EndpointStatus, LaneKey
from shared.store import deliveries, endpoints, lanes, workers
from shared.store.database import Connection
from shared.store.endpoints import EndpointChange
from shared.store.lanes import MovedHead
from workers.delivery.lanes import Tools
from workers.delivery.roster import KNOWN, Roster

log = structlog.get_logger(__name__)

LOOK_S = 0.1
"""Hints of so long are looked up together."""
LOOKED_UP_AT_ONCE = 200
SKEW_S = 15.0
"""How far clocks of machines may differ, and how long a transaction may take, before the sweep overlooks it."""
MOST_REST_S = 3.0
SLOW_EVERY = 10
"""Sweeps between two looks at all orphans."""
ORPHANS = 500
QUEUED = 500
TESTS = 20


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one look at the store showed."""

    beats: Mapping[Incarnation, int]
    own: int | None
    """This process's own beat; None: a peer declared it lost."""
    moved: Sequence[MovedHead]
    changes: Sequence[EndpointChange]
    queued: Sequence[LaneKey]
    tests: Sequence[Delivery]


class Discovery:
    """Tells the roster what moved. `hint` may be called at any time from the loop; the rest is `run`'s."""

    def __init__(
        self,
        roster: Roster,
        tools: Tools,
        *,
        peers: LapseObserver,
        sweep_s: float,
        send_test: Callable[[Delivery], None],
    ) -> None:
        self._roster = roster
        self._tools = tools
        self._peers = peers
        self._sweep_s = sweep_s
        self._send_test = send_test
        self._tenants: dict[SessionId, TenantId] = {}
        self._hinted: set[SessionId] = set()
        self._hints = asyncio.Event()
        self._hurry = asyncio.Event()
        self._since: datetime | None = None
        self._seen: dict[EndpointId, datetime] = {}
        self._unheard: dict[EndpointId, Endpoint] = {}
        """Endpoints that are new here, or enabled again, until what they have not heard is found."""
        self._peers_seen: frozenset[Incarnation] = frozenset()
        self.swept_at: float | None = None
        """When the last sweep that saw the store ended, on the monotonic clock."""

    def hint(self, message: bytes) -> None:
        """A wake-up: `ses_x:<last seq> ses_y:<last seq> …`. Anything else in it is passed over."""
        for part in message.decode(errors="replace").split():
            session, _, last_seq = part.partition(":")
            if is_id(session, "ses") and last_seq.isascii() and last_seq.isdigit():
                self._moved(SessionId(session), int(last_seq))

    def hurry(self) -> None:
        """Sweep now: hints may have been lost."""
        self._hurry.set()

    async def run(self) -> None:
        """Look up hinted sessions and sweep, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_hints())
            group.create_task(self._run_sweeps())

    # --------------------------------------------------------------------------- hints

    def _moved(self, session: SessionId, last_seq: int) -> None:
        if self._roster.news(session, last_seq):
            self._hinted.add(session)
            self._hints.set()

    def _remember(self, heads: Sequence[MovedHead]) -> None:
        if len(self._tenants) >= KNOWN:
            self._tenants.clear()
        self._tenants.update((head.session, head.tenant) for head in heads)

    async def _run_hints(self) -> None:
        while True:
            await self._hints.wait()
            self._hints.clear()
            looked_up = set(list(self._hinted)[:LOOKED_UP_AT_ONCE])
            self._hinted -= looked_up
            try:
                await self._look_up(looked_up)
            except Unavailable:
                self._hinted |= looked_up
            if self._hinted:
                self._hints.set()
            await asyncio.sleep(LOOK_S)

    async def _look_up(self, sessions: Iterable[SessionId]) -> None:
        """Take the lanes of sessions that moved: of their tenants' endpoints, and of their own."""
        sessions = list(sessions)
        unknown = [session for session in sessions if session not in self._tenants]

        def work(connection: Connection) -> tuple[Sequence[MovedHead], Sequence[LaneKey]]:
            found = lanes.heads_of(connection, unknown) if unknown else []
            return found, endpoints.concerned(connection, sessions)

        found, own = await self._tools.reader.run(work)
        self._remember(found)
        watchers = self._roster.watchers()
        keys = [
            LaneKey(endpoint, session)
            for session in sessions
            for endpoint in watchers.get(self._tenants.get(session, TenantId("")), ())
        ]
        await self._roster.adopt([*keys, *own])

    # --------------------------------------------------------------------------- sweeps

    async def _run_sweeps(self) -> None:
        count = 0
        while True:
            began = time.monotonic()
            try:
                await self._sweep(is_slow=count % SLOW_EVERY == 0)
                count += 1
                self.swept_at = time.monotonic()
            except Unavailable:
                log.warning("delivery.sweep_missed")
            # A store so large that a look takes long is looked at less often, for a twentieth of the time. Not so
            # seldom, though, that a lapse of a peer goes unseen.
            await self._rest(max(self._sweep_s, min(20 * (time.monotonic() - began), MOST_REST_S)))

    async def _rest(self, rest_s: float) -> None:
        try:
            async with asyncio.timeout(rest_s):
                await self._hurry.wait()
        except TimeoutError:
            return
        self._hurry.clear()

    async def _sweep(self, *, is_slow: bool) -> None:
        at = clock.now()
        if self._since is None:
            await self._begin()
        seen = await self._tools.reader.run(_look(self._tools.me, (self._since or at) - timedelta(seconds=SKEW_S), at))
        someone_left = await self._rescue(seen.beats, seen.own)
        await self._take_changes(seen.changes)
        await self._catch_up()
        self._remember(seen.moved)
        for head in seen.moved:
            self._moved(head.session, head.last_seq)
        self._hinted |= self._roster.left_behind
        self._roster.left_behind.clear()
        if self._hinted:
            self._hints.set()
        for test in seen.tests:
            self._send_test(test)
        await self._roster.adopt(self._roster.ring_queued(seen.queued))
        self._roster.ring_queued(seen.queued)
        await self._roster.adopt_waiting()
        if is_slow or someone_left:
            await self._take_orphans()
        self._since = at

    async def _begin(self) -> None:
        """The first look: everything anybody has not heard, however long ago it happened."""

        def work(connection: Connection) -> tuple[Sequence[Endpoint], list[LaneKey]]:
            watching = self._tools.store.watching(connection)
            keys = [LaneKey(one.id, head.session) for one in watching for head in lanes.behind(connection, one)]
            return watching, [*keys, *lanes.unheard(connection), *endpoints.due_callbacks(connection)]

        watching, keys = await self._tools.reader.run(work)
        for endpoint in watching:
            self._roster.serve(endpoint)
            self._seen[endpoint.id] = endpoint.updated_at
        await self._roster.adopt(keys)

    async def _take_changes(self, changes: Sequence[EndpointChange]) -> None:
        fresh = {one.id for one in changes if self._is_of_interest(one)}
        if not fresh:
            return
        found = await self._tools.reader.run(lambda connection: self._tools.store.named(connection, fresh))
        for endpoint in found:
            was_served = endpoint.id in self._roster.receivers and self._roster.receivers[endpoint.id].is_served
            self._roster.serve(endpoint)
            self._seen[endpoint.id] = endpoint.updated_at
            if endpoint.status is not EndpointStatus.ACTIVE:
                self._unheard.pop(endpoint.id, None)
                self._roster.drop(endpoint.id)
            elif not was_served:
                self._unheard[endpoint.id] = endpoint

    def _is_of_interest(self, change: EndpointChange) -> bool:
        if self._seen.get(change.id) == change.updated_at:
            return False
        if len(self._seen) >= KNOWN:
            self._seen.clear()
        return change.id in self._roster.receivers or change.status is EndpointStatus.ACTIVE

    async def _catch_up(self) -> None:
        for endpoint in list(self._unheard.values()):
            behind = await self._tools.reader.run(partial(lanes.behind, endpoint=endpoint))
            await self._roster.adopt([LaneKey(endpoint.id, head.session) for head in behind])
            if endpoint.scope is not EndpointScope.TENANT:
                self._roster.drop(endpoint.id)
            del self._unheard[endpoint.id]

    async def _take_orphans(self) -> None:
        self._roster.forget_foreign()
        gone = await self._tools.reader.run(_gone)
        if gone:
            await self._tools.writer.run(lambda connection: _free_left(connection, gone))
        keys = await self._tools.reader.run(lambda connection: lanes.orphans(connection, ORPHANS))
        await self._roster.adopt(keys)

    # --------------------------------------------------------------------------- peers

    async def _rescue(self, beats: Mapping[Incarnation, int], own: int | None) -> bool:
        """Free the lanes of peers that are lost, or left without a word; whether anybody left."""
        if own is None:
            return False
        for peer in self._peers.look(beats, time.monotonic(), own=own):
            await self._tools.writer.run(partial(_declare_lost, peer=peer, beat=beats[peer]))
        known = frozenset(beats)
        left = self._peers_seen - known
        self._peers_seen = known
        return bool(left)


def _look(me: Incarnation, since: datetime, at: datetime) -> Callable[[Connection], Sweep]:
    def work(connection: Connection) -> Sweep:
        beats = {peer.incarnation: peer.beat for peer in workers.live(connection, "delivery")}
        own = beats.pop(me, None)
        return Sweep(
            beats=beats,
            own=own,
            moved=lanes.moved(connection, since),
            changes=endpoints.changed(connection, since),
            queued=deliveries.queued_lanes(connection, QUEUED),
            tests=deliveries.due_tests(connection, at, TESTS),
        )

    return work


def _declare_lost(connection: Connection, peer: Incarnation, beat: int) -> bool:
    """Fence a peer whose beat still stands where it was seen to, and free its lanes."""
    row = workers.lock(connection, peer)
    if row is None or row.beat != beat:
        return False
    freed = lanes.let_go_all(connection, peer)
    workers.remove(connection, peer)
    log.warning("delivery.peer_lost", peer=peer, lanes=freed)
    return True


def _gone(connection: Connection) -> set[Incarnation]:
    # Owners first: a process registers before it takes a lane, so one that is missing then was there and left.
    owners = lanes.owners(connection)
    return owners - {peer.incarnation for peer in workers.live(connection, "delivery")}


def _free_left(connection: Connection, gone: Iterable[Incarnation]) -> None:
    for owner in gone:
        log.warning("delivery.lanes_left_behind", owner=owner, lanes=lanes.let_go_all(connection, owner))
