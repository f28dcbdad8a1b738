"""Endpoints and lanes keep their contract on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from shared.domain import clock
from shared.domain.errors import InvalidField, VersionMismatch
from shared.domain.ids import SessionId, TenantId, mint_incarnation
from shared.domain.session import EndReason
from shared.domain.turn import Ending, TurnStatus
from shared.domain.webhook import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryStatus,
    EndpointScope,
    EndpointStatus,
    LaneKey,
    mint_delivery,
    mint_secret,
)
from shared.store import deliveries, endpoints, heads, lanes
from shared.store.deliveries import Result
from shared.store.endpoints import EndpointOwner
from shared.store.lanes import LaneMove
from shared.store.tables import endpoints as endpoint_rows

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


# --------------------------------------------------------------------------- endpoints


def test_an_endpoint_reads_as_it_was_made(home):
    made = home.endpoint(URL, description="mine", event_types=("message*",), headers={"a": "b"}, rate_per_s=2.5)

    assert home.read_endpoint(made.id) == made
    assert (made.scope, made.status, made.version) == (EndpointScope.TENANT, EndpointStatus.ACTIVE, 1)


def test_secrets_and_headers_lie_sealed(home):
    made = home.endpoint(URL, headers={"authorization": "Bearer canary"})

    with home.database.read() as connection:
        row = str(connection.execute(sa.select(endpoint_rows)).one())
    assert made.secret.removeprefix("whsec_") not in row
    assert "canary" not in row
    assert "canary" not in repr(made.secret) or made.secret not in repr(made)


def test_an_endpoint_of_another_tenant_is_not_there(home):
    made = home.endpoint(URL)

    with home.database.write() as connection:
        assert home.store.get(connection, TenantId("ten_other"), made.id) is None
        assert not endpoints.remove(connection, TenantId("ten_other"), made.id)
    assert home.read_endpoint(made.id) == made


def test_pages_are_newest_first_and_of_tenants_endpoints_alone(home):
    made = [home.endpoint(f"{URL}/{number}").id for number in range(5)]
    home.endpoint(URL, owner=EndpointOwner(home.tenant, home.session()))
    seen, cursor = [], None
    with home.database.read() as connection:
        while True:
            page, cursor = home.store.page(connection, home.tenant, cursor=cursor, limit=2)
            seen += [one.id for one in page]
            if cursor is None:
                break
        filtered, _ = home.store.page(connection, home.tenant, url=f"{URL}/3", limit=10)
        with pytest.raises(InvalidField):
            home.store.page(connection, home.tenant, cursor="nonsense", limit=2)

    assert sorted(seen) == sorted(made)
    assert [one.id for one in filtered] == [made[3]]


def test_a_change_raises_the_version_and_an_old_version_changes_nothing(home):
    made = home.endpoint(URL)
    with home.database.write() as connection:
        changed = home.store.update(connection, made, replace(made.spec, url=f"{URL}/2"), enabled=False, at=clock.now())
    with pytest.raises(VersionMismatch) as refused, home.database.write() as connection:
        home.store.update(connection, made, made.spec, enabled=True, at=clock.now())

    assert refused.value.facts == {"actual": 2}
    assert home.read_endpoint(made.id) == changed
    assert (changed.status, changed.disabled_reason, changed.spec.url) == ("disabled", "by_caller", f"{URL}/2")


def test_after_a_rotation_both_secrets_sign_for_a_day(home):
    made, secret, at = home.endpoint(URL), mint_secret(), clock.now()
    with home.database.write() as connection:
        home.store.rotate_secret(connection, made, secret, at)

    found = home.read_endpoint(made.id)
    assert found.secrets(at + timedelta(hours=23, minutes=59)) == (secret, made.secret)
    assert found.secrets(at + timedelta(hours=24)) == (secret,)


def test_an_endpoint_is_disabled_once_and_tells_who_looks(home):
    made = home.endpoint(URL)
    with home.database.write() as connection:
        assert endpoints.disable(connection, made.id, "gone", clock.now())
        assert not endpoints.disable(connection, made.id, "failing", clock.now())
        seen = endpoints.changed(connection, made.created_at + timedelta(microseconds=1))

    assert [(one.id, one.status) for one in seen] == [(made.id, EndpointStatus.DISABLED)]
    assert home.read_endpoint(made.id).disabled_reason == "gone"


def test_the_first_moment_of_failing_is_kept_until_it_ends(home):
    made, first = home.endpoint(URL), clock.now()
    with home.database.write() as connection:
        endpoints.set_failing(connection, made.id, first, first)
        endpoints.set_failing(connection, made.id, first + timedelta(hours=1), first)
    assert home.read_endpoint(made.id).failing_since == first

    with home.database.write() as connection:
        endpoints.set_failing(connection, made.id, None, first)
    assert home.read_endpoint(made.id).failing_since is None


def test_removing_an_endpoint_takes_lanes_deliveries_and_attempts_along(home):
    made, session = home.endpoint(URL), home.session()
    sent = delivery_of(made, session)
    stored(home, sent)
    with home.database.write() as connection:
        lanes.ensure(connection, LaneKey(made.id, session), cursor=0, due_at=None)
        deliveries.finish(connection, [Result(sent.id, DeliveryStatus.DELIVERED, attempt(1))])
        assert endpoints.remove(connection, home.tenant, made.id)
        assert not endpoints.remove(connection, home.tenant, made.id)
        assert deliveries.get(connection, home.tenant, sent.id) is None
        assert not deliveries.attempts_of(connection, sent.id)
        assert not lanes.found(connection, [LaneKey(made.id, session)])


def test_a_callback_concerns_nobody_before_its_turn_is_over(home):
    session = home.session()
    own = home.endpoint(URL, owner=EndpointOwner(home.tenant, session))
    turn, callback = home.turn(session, URL)

    def concerned():
        with home.database.read() as connection:
            return {key.endpoint for key in endpoints.concerned(connection, [session])}

    assert concerned() == {own.id}
    home.end_turn(session, turn, Ending(TurnStatus.COMPLETED, "end_turn"))
    assert concerned() == {own.id, callback.id}
    with home.database.write() as connection:
        endpoints.set_done(connection, callback.id, clock.now())
        endpoints.set_done(connection, own.id, clock.now())
    assert concerned() == {own.id}


# --------------------------------------------------------------------------- lanes


@pytest.mark.parametrize("before", [0, 1, 2, 63, 64, 65, 100])
def test_a_lane_begins_behind_the_events_made_before_its_endpoint(home, before):
    session = home.session()
    for _ in range(before):
        home.log(session, 1, at=clock.now() - timedelta(minutes=1))
    made = home.endpoint(URL)
    home.log(session, 5)

    with home.database.read() as connection:
        assert lanes.start_cursor(connection, made, session) == before


def test_a_lane_begins_where_retention_left_off(home):
    session = home.session()
    home.log(session, 10)
    made = home.endpoint(URL)
    home.log(session, 5)
    with home.database.write() as connection:
        heads.set_first_seq(connection, session, 8)
        assert lanes.start_cursor(connection, made, session) >= 7
        assert lanes.start_cursor(connection, made, SessionId("ses_none")) == 0


def test_a_lane_has_one_owner_and_each_claim_a_new_epoch(home):
    key = LaneKey(home.endpoint(URL).id, home.session())
    me, other = mint_incarnation(), mint_incarnation()
    with home.database.write() as connection:
        lanes.ensure(connection, key, cursor=7, due_at=None)
        lanes.ensure(connection, key, cursor=9, due_at=None)
        mine = lanes.claim(connection, key, me)
        assert mine is not None
        assert (mine.cursor, mine.epoch, mine.owner) == (7, 1, me)
        assert lanes.claim(connection, key, other) is None
        assert lanes.let_go_all(connection, me) == 1
        theirs = lanes.claim(connection, key, other)

    assert theirs is not None
    assert theirs.epoch == 3


def test_a_former_owner_is_fenced(home):
    key = LaneKey(home.endpoint(URL).id, home.session())
    me, other = mint_incarnation(), mint_incarnation()
    with home.database.write() as connection:
        lanes.ensure(connection, key, cursor=0, due_at=None)
        lanes.claim(connection, key, me)
        assert lanes.still_held(connection, me, {key: 1}) == {key}
        assert lanes.still_held(connection, me, {key: 2}) == set()
        lanes.let_go_all(connection, me)
        lanes.claim(connection, key, other)
        assert lanes.still_held(connection, me, {key: 1}) == set()
        assert not lanes.is_held(connection, me, key, 1)
        assert lanes.is_held(connection, other, key, 3)


def test_a_lane_let_go_of_is_closed_when_its_session_has_ended_and_all_is_told(home):
    made = home.endpoint(URL)
    over, alive = home.session(), home.session()
    me, keys = mint_incarnation(), []
    for session in (over, alive):
        home.log(session, 3)
        keys.append(LaneKey(made.id, session))
    with home.database.write() as connection:
        heads.end(connection, over, EndReason.TERMINATED, None, clock.now())
        for key in keys:
            lanes.ensure(connection, key, cursor=0, due_at=None)
            lanes.claim(connection, key, me)
        lanes.move(connection, [LaneMove(key, 1, 2, 2, None, is_let_go=True) for key in keys])
        assert set(lanes.orphans(connection, 10)) == set(keys)
        for key in keys:
            lanes.claim(connection, key, me)
        lanes.move(connection, [LaneMove(key, 2, 3, 3, None, is_let_go=True) for key in keys])
        assert not lanes.orphans(connection, 10)
        closed = (
            connection.execute(sa.select(lanes.lanes.c.session_id).where(lanes.lanes.c.closed.is_(True)))
            .scalars()
            .all()
        )

    assert closed == [over]


def test_a_lane_with_a_pending_retry_is_an_orphan_even_when_it_has_heard_all(home):
    made, session = home.endpoint(URL), home.session()
    home.log(session, 3)
    key = LaneKey(made.id, session)
    with home.database.write() as connection:
        lanes.ensure(connection, key, cursor=3, due_at=None)
        assert not lanes.orphans(connection, 10)
        lanes.move(connection, [LaneMove(key, 0, 3, 3, clock.now())])
        assert lanes.orphans(connection, 10) == [key]
        endpoints.disable(connection, made.id, "gone", clock.now())
        assert not lanes.orphans(connection, 10)


def test_what_an_endpoint_has_not_heard_is_found(home):
    old, quiet, new = home.session(), home.session(), home.session()
    home.log(quiet, 3, at=clock.now() - timedelta(minutes=1))
    made = home.endpoint(URL)
    home.log(old, 3)
    home.log(new, 3)
    with home.database.write() as connection:
        lanes.ensure(connection, LaneKey(made.id, old), cursor=3, due_at=None)
        behind = lanes.behind(connection, made)

    assert [head.session for head in behind] == [new]


def attempt(n, outcome=AttemptOutcome.DELIVERED):
    return Attempt(n, outcome, 200, None, 0.25, "ok", clock.now())
