"""What a lane sends next: a cut of its session's log, or the notice of a finished turn; the lane stores it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain import clock
from shared.domain.clock import from_text
from shared.domain.event import Event
from shared.domain.ids import SessionId
from shared.domain.webhook import (
    CUT_EVENTS,
    RENDER_VERSION,
    Cut,
    Delivery,
    DeliveryKind,
    DeliveryStatus,
    Endpoint,
    EndpointStatus,
    cut_size,
    mint_delivery,
    render_cut,
    render_turn,
)
from shared.store import deliveries, events, heads, turns
from shared.store.database import Connection
from shared.store.lanes import LaneRow
from workers.delivery.schedule import cut_wait_s


@dataclass(frozen=True, slots=True)
class Page:
    """What a look at the store found to send, if anything, and how far it looked."""

    delivery: Delivery | None
    body: bytes
    upto: int
    first_at: datetime | None = None
    """When the first event of it was made."""


class Source(Protocol):
    """Where a lane's deliveries come from."""

    @property
    def looked_upto(self) -> int:
        """All up to here is in a cut, or filtered out."""

    def go_behind(self, pending: Delivery) -> None:
        """A former owner has made this delivery already."""

    def news(self, last_seq: int, now: float) -> bool:
        """The log has grown to `last_seq`; whether the lane should look up from its rest."""

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next delivery is to be made; None: nothing waits."""

    def look(self, endpoint: Endpoint) -> Callable[[Connection], Page]:
        """Work for the reader thread that finds the next delivery."""

    def found(self, page: Page, now: float) -> None:
        """Go on behind `page`."""


class EventCuts:
    """Cuts of a session's log, as the endpoint filters it."""

    def __init__(self, row: LaneRow, last_seq: int, *, window_s: float, now: float) -> None:
        self._session = row.key.session
        self._window_s = window_s
        self._looked_upto = row.cursor
        self._sent_seq = row.sent_seq
        self._last_seq = row.cursor
        self._since = now
        self._is_filtered = False
        self.news(last_seq, now)

    @property
    def looked_upto(self) -> int:
        return self._looked_upto

    def go_behind(self, pending: Delivery) -> None:
        if pending.last_seq is not None and pending.last_seq > self._looked_upto:
            self._looked_upto = self._sent_seq = pending.last_seq

    def news(self, last_seq: int, now: float) -> bool:
        if last_seq <= self._last_seq:
            return False
        was_waiting = self._last_seq > self._looked_upto
        had_full_cut = self._last_seq - self._looked_upto >= CUT_EVENTS
        self._last_seq = last_seq
        if not was_waiting:
            self._since = now
            return True
        return not had_full_cut and self._last_seq - self._looked_upto >= CUT_EVENTS

    def wait_s(self, now: float) -> float | None:
        waiting = self._last_seq - self._looked_upto
        if waiting <= 0:
            return None
        # Of filtered events nobody knows how many make a cut; they wait out the window.
        return cut_wait_s(0 if self._is_filtered else waiting, self._since, now, self._window_s)

    def look(self, endpoint: Endpoint) -> Callable[[Connection], Page]:
        after, last_seq, sent_seq = self._looked_upto, self._last_seq, self._sent_seq
        self._is_filtered = bool(endpoint.spec.event_types)

        def work(connection: Connection) -> Page:
            if endpoint.spec.event_types:
                held, upto = _filtered(connection, endpoint, self._session, after, last_seq)
            else:
                upto = min(after + CUT_EVENTS, last_seq)
                held = events.between(connection, self._session, after, upto)
            if not held:
                return Page(None, b"", _behind_removed(connection, self._session, upto, last_seq))
            return _cut(endpoint, held, sent_seq, upto)

        return work

    def found(self, page: Page, now: float) -> None:
        self._looked_upto = page.upto
        self._since = now
        if page.delivery is not None and page.delivery.last_seq is not None:
            self._sent_seq = page.delivery.last_seq


class TurnNotice:
    """The one delivery of a callback, made when its turn is over; lanes of callbacks are not made before."""

    def __init__(self, row: LaneRow, endpoint: Endpoint) -> None:
        self._cursor = row.cursor
        self._session = row.key.session
        self._is_told = endpoint.status is not EndpointStatus.ACTIVE

    @property
    def looked_upto(self) -> int:
        return self._cursor

    def go_behind(self, pending: Delivery) -> None:
        self._is_told = True

    def news(self, last_seq: int, now: float) -> bool:
        return False

    def wait_s(self, now: float) -> float | None:
        return None if self._is_told else 0.0

    def look(self, endpoint: Endpoint) -> Callable[[Connection], Page]:
        delivery = _delivery(endpoint, self._session, DeliveryKind.TURN)

        def work(connection: Connection) -> Page:
            body = body_of(endpoint, delivery)(connection)
            return Page(delivery if body else None, body or b"", self._cursor)

        return work

    def found(self, page: Page, now: float) -> None:
        self._is_told = True


def body_of(endpoint: Endpoint, delivery: Delivery) -> Callable[[Connection], bytes | None]:
    """Work that renders a stored delivery anew, the same bytes each time; None: what it tells has been removed."""

    def work(connection: Connection) -> bytes | None:
        if delivery.kind is DeliveryKind.TEST:
            return None if delivery.body is None else delivery.body.encode()
        if delivery.kind is DeliveryKind.TURN:
            turn = turns.get_any(connection, endpoint.turn) if endpoint.turn else None
            return render_turn(turn) if turn and turn.ended_at else None
        held = deliveries.events_of(connection, delivery)
        if held is None or delivery.session is None:
            return None
        return render_cut(delivery.render, delivery.session, Cut(held, delivery.prev_seq or 0))

    return work


def _filtered(
    connection: Connection, endpoint: Endpoint, session: SessionId, after: int, last_seq: int
) -> tuple[list[Event], int]:
    upto = min(after + deliveries.FILTERED_RANGE, last_seq)
    held = deliveries.matching(connection, session, after, upto, types=endpoint.spec.event_types, limit=CUT_EVENTS)
    # A full page may have been cut off by its limit; behind its last event anything may lie.
    return held, held[-1].seq if len(held) == CUT_EVENTS else upto


def _cut(endpoint: Endpoint, held: list[Event], sent_seq: int, upto: int) -> Page:
    count = cut_size(held)
    kept = held[:count]
    is_filtered = bool(endpoint.spec.event_types)
    delivery = _delivery(
        endpoint,
        kept[0].session,
        DeliveryKind.EVENTS,
        Span(kept[0].seq, kept[-1].seq, sent_seq, tuple(event.seq for event in kept) if is_filtered else None),
    )
    return Page(
        delivery,
        render_cut(delivery.render, kept[0].session, Cut(kept, sent_seq)),
        upto if count == len(held) else kept[-1].seq,
        from_text(kept[0].created_at),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Which events a delivery holds."""

    first_seq: int
    last_seq: int
    prev_seq: int
    seqs: tuple[int, ...] | None


def _delivery(endpoint: Endpoint, session: SessionId, kind: DeliveryKind, span: Span | None = None) -> Delivery:
    now = clock.now()
    return Delivery(
        id=mint_delivery(),
        tenant=endpoint.tenant,
        endpoint=endpoint.id,
        session=session,
        kind=kind,
        first_seq=span.first_seq if span else None,
        last_seq=span.last_seq if span else None,
        prev_seq=span.prev_seq if span else None,
        seqs=span.seqs if span else None,
        render=RENDER_VERSION,
        body=None,
        status=DeliveryStatus.PENDING,
        attempts=0,
        next_attempt_at=now,
        created_at=now,
        delivered_at=None,
        dead_reason=None,
    )


def _behind_removed(connection: Connection, session: SessionId, upto: int, last_seq: int) -> int:
    # Nothing there: filtered out, or removed by retention, which the next prev_seq will show.
    head = heads.get(connection, session)
    return upto if head is None else min(last_seq, max(upto, head.first_seq - 1))
