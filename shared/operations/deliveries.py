"""Deliveries: what became of them, and sending them again. Endpoints are in `webhooks.py`, sending in workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.domain.errors import EndpointDisabled, HistoryRemoved, InvalidField, NotFound, Refused
from shared.domain.ids import DeliveryId, EndpointId, SessionId
from shared.domain.tenant import Caller
from shared.domain.webhook import (
    RENDER_VERSION,
    Attempt,
    Delivery,
    DeliveryKind,
    DeliveryStatus,
    Endpoint,
    EndpointStatus,
    LaneKey,
    cut_size,
    mint_delivery,
    render_test,
)
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.operations.webhooks import find
from shared.store import deliveries, events, heads, lanes
from shared.store.database import Connection
from shared.store.endpoints import EndpointStore

REPLAY_DELIVERIES = 100
"""Deliveries one replay makes at most; the answer says where the next goes on."""
REPLAY_RANGE = 100
"""Seqs read at once; ten times as many where the endpoint filters."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What to send again: of one session the events behind `after_seq`, or the dead deliveries alone."""

    session: SessionId | None = None
    after_seq: int = 0
    dead_only: bool = False


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay set in motion. `last_seq`: where it ends; `has_more`: ask again with that as `after_seq`."""

    deliveries: int
    last_seq: int | None = None
    has_more: bool = False


def send_test(context: Context, caller: Caller, id: EndpointId, *, once: Once[Delivery] | None = None) -> Delivery:
    """Send the endpoint a `webhook.test`, once, whatever its state; the delivery tells what came of it.

    Raises:
        NotFound: missing, or another tenant's.
    """

    def effect(act: Act) -> Delivery:
        endpoint = find(context, act.connection, caller, id)
        blank = Delivery(
            id=mint_delivery(),
            tenant=caller.tenant,
            endpoint=endpoint.id,
            session=None,
            kind=DeliveryKind.TEST,
            first_seq=None,
            last_seq=None,
            prev_seq=None,
            seqs=None,
            render=RENDER_VERSION,
            body=render_test(endpoint.id, act.at),
            status=DeliveryStatus.PENDING,
            attempts=0,
            next_attempt_at=act.at,
            created_at=act.at,
            delivered_at=None,
            dead_reason=None,
        )
        deliveries.store(act.connection, [blank])
        return blank

    return carry_out(context, caller, once, effect)


def page(
    context: Context,
    caller: Caller,
    id: EndpointId,
    *,
    status: Sequence[DeliveryStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Delivery], str | None]:
    """Deliveries of an endpoint, newest first, with the next page's cursor.

    Raises:
        NotFound: no such endpoint, or another tenant's.
    """
    with context.db.read() as connection:
        find(context, connection, caller, id)
        return deliveries.page(connection, id, status=status, cursor=cursor, limit=limit)


def get(context: Context, caller: Caller, id: DeliveryId) -> tuple[Delivery, list[Attempt]]:
    """One delivery with all its attempts.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        return _delivery(connection, caller, id), deliveries.attempts_of(connection, id)


def resend(context: Context, caller: Caller, id: DeliveryId, *, once: Once[Delivery] | None = None) -> Delivery:
    """Send a delivery again: the same bytes under the same `webhook-id`, in its lane's order.

    Of one that waits for a retry this is the retry, now.

    Raises:
        NotFound: missing, or another tenant's; or its session is gone.
        EndpointDisabled: enable it first.
        HistoryRemoved: retention has removed events of it.
        Refused: it is a test.
    """

    def effect(act: Act) -> Delivery:
        found = _delivery(act.connection, caller, id)
        if found.session is None:
            raise Refused("A test is not sent again. Ask for another test.")
        _check_served(act.connection, context, caller, found)
        deliveries.queue(act.connection, id, act.at)
        return replace(found, status=DeliveryStatus.QUEUED, next_attempt_at=act.at, dead_reason=None)

    return carry_out(context, caller, once, effect)


def replay(
    context: Context, caller: Caller, id: EndpointId, wish: Replay, *, once: Once[ReplayResult] | None = None
) -> ReplayResult:
    """Send a session's events again in new deliveries, or an endpoint's dead deliveries as they were.

    Events the endpoint has still to hear of come by themselves and are not repeated.

    Raises:
        NotFound: no such endpoint or session, or another tenant's.
        InvalidField: neither a session nor `dead_only`.
        EndpointDisabled: enable it first.
        HistoryRemoved: retention has removed the events behind `after_seq`.
    """
    if wish.session is None and not wish.dead_only:
        raise InvalidField("session_id", "is needed unless dead_only is set")
    planned = None if wish.dead_only else _plan(context, caller, id, wish)

    def effect(act: Act) -> ReplayResult:
        endpoint = find(context, act.connection, caller, id)
        if endpoint.status is EndpointStatus.DISABLED:
            raise EndpointDisabled(id, endpoint.disabled_reason)
        if planned is None:
            return ReplayResult(deliveries.queue_dead(act.connection, id, wish.session, act.at))
        lanes.ensure(act.connection, planned.key, cursor=planned.start, due_at=None)
        cuts = [replace(cut, created_at=act.at, next_attempt_at=act.at) for cut in planned.cuts]
        deliveries.store(act.connection, cuts)
        return ReplayResult(len(cuts), cuts[-1].last_seq if cuts else wish.after_seq, planned.has_more)

    return carry_out(context, caller, once, effect)


@dataclass(frozen=True, slots=True)
class _Plan:
    key: LaneKey
    start: int
    """Where the lane begins should it have to be made."""
    cuts: list[Delivery]
    has_more: bool


def _plan(context: Context, caller: Caller, id: EndpointId, wish: Replay) -> _Plan:
    # Read before the transaction that writes: the log does not change, and ten thousand events take a while.
    session = wish.session or SessionId("")
    with context.db.read() as connection:
        endpoint = find(context, connection, caller, id)
        head = heads.get(connection, session)
        if head is None or head.tenant != caller.tenant or _is_others(endpoint, session):
            raise NotFound("session", session)
        if wish.after_seq < head.first_seq - 1:
            raise HistoryRemoved(head.first_seq)
        key = LaneKey(id, session)
        lane = lanes.found(connection, [key]).get(key)
        start = lanes.start_cursor(connection, endpoint, session)
        told = min(lane.cursor if lane else start, head.last_seq)
        cuts: list[Delivery] = []
        after, prev = wish.after_seq, wish.after_seq
        while after < told and len(cuts) < REPLAY_DELIVERIES:
            cut, after = _cut(connection, endpoint, session, (after, told, prev))
            if cut is not None:
                cuts.append(cut)
                prev = cut.last_seq or prev
    return _Plan(key, start, cuts, after < told)


def _is_others(endpoint: Endpoint, session: SessionId) -> bool:
    return endpoint.session not in {None, session}


def _cut(
    connection: Connection, endpoint: Endpoint, session: SessionId, span: tuple[int, int, int]
) -> tuple[Delivery | None, int]:
    """The next cut behind `span`'s first number and up to its second; its third is what was sent before."""
    after, upto, prev = span
    types = endpoint.spec.event_types
    if types:
        bound = min(after + deliveries.FILTERED_RANGE, upto)
        held = deliveries.matching(connection, session, after, bound, types=types, limit=deliveries.FILTERED_RANGE)
    else:
        bound = min(after + REPLAY_RANGE, upto)
        held = events.between(connection, session, after, bound)
    if not held:
        return None, bound
    kept = held[: cut_size(held)]
    cut = Delivery(
        id=mint_delivery(),
        tenant=endpoint.tenant,
        endpoint=endpoint.id,
        session=session,
        kind=DeliveryKind.EVENTS,
        first_seq=kept[0].seq,
        last_seq=kept[-1].seq,
        prev_seq=prev,
        seqs=tuple(event.seq for event in kept) if types else None,
        render=RENDER_VERSION,
        body=None,
        status=DeliveryStatus.QUEUED,
        attempts=0,
        next_attempt_at=None,
        created_at=endpoint.created_at,
        delivered_at=None,
        dead_reason=None,
    )
    return cut, bound if len(kept) == len(held) else kept[-1].seq


def _check_served(connection: Connection, context: Context, caller: Caller, found: Delivery) -> None:
    # Not `find`: a callback's delivery may be sent again, though its endpoint is nobody's to change.
    endpoint = EndpointStore(context.sealer).get(connection, caller.tenant, found.endpoint)
    if endpoint is None:
        raise NotFound("webhook", found.endpoint)
    if endpoint.status is EndpointStatus.DISABLED:
        raise EndpointDisabled(endpoint.id, endpoint.disabled_reason)
    session = found.session or SessionId("")
    key = LaneKey(found.endpoint, session)
    if key not in lanes.found(connection, [key]):
        raise NotFound("session", session)
    head = heads.get(connection, session)
    if head is not None and found.first_seq is not None and found.first_seq < head.first_seq:
        raise HistoryRemoved(head.first_seq)


def _delivery(connection: Connection, caller: Caller, id: DeliveryId) -> Delivery:
    found = deliveries.get(connection, caller.tenant, id)
    if found is None:
        raise NotFound("delivery", id)
    return found
