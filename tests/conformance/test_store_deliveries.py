"""Deliveries and attempts keep their contract on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared.domain import clock
from shared.domain.ids import TenantId
from shared.domain.webhook import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryStatus,
    LaneKey,
    mint_delivery,
    mint_endpoint,
)
from shared.store import deliveries, lanes
from shared.store.deliveries import Result

URL = "https://x.test/hook"


def delivery_of(endpoint, session, first=1, last=2, **changes) -> Delivery:
    now = clock.now()
    plain = Delivery(
        id=mint_delivery(),
        tenant=endpoint.tenant,
        endpoint=endpoint.id,
        session=session,
        kind=DeliveryKind.EVENTS,
        first_seq=first,
        last_seq=last,
        prev_seq=0,
        seqs=None,
        render=1,
        body=None,
        status=DeliveryStatus.PENDING,
        attempts=0,
        next_attempt_at=now,
        created_at=now,
        delivered_at=None,
        dead_reason=None,
    )
    return replace(plain, **changes)


def stored(home, *made) -> None:
    with home.database.write() as connection:
        deliveries.store(connection, made)


def attempt(n, outcome=AttemptOutcome.DELIVERED):
    return Attempt(n, outcome, 200, None, 0.25, "ok", clock.now())


def test_a_delivery_and_its_attempts_read_as_they_were_written(home):
    made, session = home.endpoint(URL), home.session()
    sent = delivery_of(made, session, seqs=(1, 4, 9), first=1, last=9)
    stored(home, sent)
    tries = [attempt(1, AttemptOutcome.TIMED_OUT), attempt(2)]
    at = clock.now()
    with home.database.write() as connection:
        assert deliveries.get(connection, home.tenant, sent.id) == sent
        deliveries.finish(connection, [Result(sent.id, DeliveryStatus.PENDING, tries[0], next_attempt_at=at)])
        deliveries.finish(connection, [Result(sent.id, DeliveryStatus.DELIVERED, tries[1], delivered_at=at)])
        found = deliveries.get(connection, home.tenant, sent.id)
        assert deliveries.attempts_of(connection, sent.id) == tries
        assert deliveries.get(connection, TenantId("ten_other"), sent.id) is None

    assert found == replace(sent, status=DeliveryStatus.DELIVERED, attempts=2, next_attempt_at=None, delivered_at=at)


def test_a_repeated_write_changes_nothing(home):
    made, session = home.endpoint(URL), home.session()
    sent = delivery_of(made, session)
    done = Result(sent.id, DeliveryStatus.DELIVERED, attempt(1), delivered_at=clock.now())
    for _ in range(2):
        with home.database.write() as connection:
            deliveries.store(connection, [sent])
            deliveries.finish(connection, [done])

    with home.database.read() as connection:
        assert len(deliveries.attempts_of(connection, sent.id)) == 1
    assert [one.status for one in home.deliveries(made.id)] == ["delivered"]


def test_deliveries_that_wait_come_in_the_order_of_their_events(home):
    made, session = home.endpoint(URL), home.session()
    key = LaneKey(made.id, session)
    waiting = [delivery_of(made, session, first, first + 9, status=DeliveryStatus.QUEUED) for first in (21, 1, 11)]
    stored(home, *waiting)
    order = []
    with home.database.write() as connection:
        assert deliveries.queued_lanes(connection, 10) == []
        lanes.ensure(connection, key, cursor=30, due_at=None)
        assert deliveries.queued_lanes(connection, 10) == [key]
        while found := deliveries.next_queued(connection, key):
            assert deliveries.is_queued(connection, found.id)
            deliveries.take(connection, found.id)
            order.append(found.first_seq)
        assert deliveries.queued_lanes(connection, 10) == []

    assert order == [1, 11, 21]


def test_dead_deliveries_are_queued_by_endpoint_and_session(home):
    made, one, two = home.endpoint(URL), home.session(), home.session()
    stored(
        home,
        delivery_of(made, one, status=DeliveryStatus.DEAD, dead_reason="retries_exhausted"),
        delivery_of(made, one, 3, 4, status=DeliveryStatus.DELIVERED),
        delivery_of(made, two, status=DeliveryStatus.DEAD),
        delivery_of(made, None, kind=DeliveryKind.TEST, status=DeliveryStatus.DEAD),
    )
    with home.database.write() as connection:
        assert deliveries.queue_dead(connection, made.id, one, clock.now()) == 1
        assert deliveries.queue_dead(connection, made.id, None, clock.now()) == 1

    assert [(found.status, found.dead_reason) for found in home.deliveries(made.id)].count(("queued", None)) == 2


def test_a_test_is_leased_to_one(home):
    made, now = home.endpoint(URL), clock.now()
    test = delivery_of(made, None, kind=DeliveryKind.TEST, body="{}", next_attempt_at=now)
    stored(home, test)
    with home.database.write() as connection:
        assert deliveries.due_tests(connection, now, 10) == [test]
        assert deliveries.lease_test(connection, test.id, now, now + timedelta(minutes=1))
        assert not deliveries.lease_test(connection, test.id, now, now + timedelta(minutes=1))
        assert not deliveries.due_tests(connection, now, 10)
        assert deliveries.due_tests(connection, now + timedelta(minutes=2), 10)


def test_matching_events_are_those_of_the_domains_rule(home):
    made, session = home.endpoint(URL), home.session()
    home.log_types(session, ["tool_call", "toolxcall", "message", "tool_result", "turn_ended"])

    with home.database.read() as connection:
        held = deliveries.matching(connection, session, 0, 5, types=("tool_*", "turn_ended"), limit=10)
        first = deliveries.matching(connection, session, 0, 5, types=("*",), limit=2)
    assert [event.seq for event in held] == [1, 4, 5], "an underscore is no wildcard"
    assert [event.seq for event in first] == [1, 2]
    assert made.spec.event_types == ()


def test_events_of_a_cut_are_all_or_none(home):
    made, session = home.endpoint(URL), home.session()
    home.log(session, 10)
    with home.database.read() as connection:
        whole = deliveries.events_of(connection, delivery_of(made, session, 3, 6))
        some = deliveries.events_of(connection, delivery_of(made, session, 3, 6, seqs=(3, 6)))
        beyond = deliveries.events_of(connection, delivery_of(made, session, 8, 12))

    assert whole is not None
    assert some is not None
    assert [event.seq for event in whole] == [3, 4, 5, 6]
    assert [event.seq for event in some] == [3, 6]
    assert beyond is None


def test_an_unknown_endpoint_has_no_deliveries(home):
    with home.database.read() as connection:
        assert deliveries.page(connection, mint_endpoint(), limit=5) == ([], None)
