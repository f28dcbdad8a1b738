"""Retention: what is old goes whole, what is live or owed stays whole, and no transaction is long."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.domain.clock import now, to_text
from shared.domain.event import Event
from shared.domain.ids import Incarnation, mint
from shared.store import blobs, events, heads, idempotency, living, retention, sessions, tables, transcripts, workers
from shared.store.database import Database
from shared.store.retention import Trimmed
from tests.fixtures.store_rows import ACME, SEALER, T0, add_ask, add_session, add_turn, after

NOTHING = Trimmed(sessions=0, events=0, deliveries=0, idempotency_keys=0, workers=0)
BEFORE = after(1000)


def count(db, table) -> int:
    with db.read() as c:
        return c.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def add_ended(c, *, length=3, ended_at=T0, told_at=T0):
    """An ended session with everything a session can have."""
    session = add_session(c)
    add_turn(c, session)
    add_ask(c, session)
    heads.next_input(c, session, T0)
    blobs.create(c, id=mint("blb"), session=session, media_type="text/plain", content=b"x", at=told_at)
    transcripts.append(c, session, "conv", ["{}"])
    last = heads.reserve(c, session, length, T0)
    if length:
        events.insert(c, [Event(session, seq, "message", None, to_text(told_at), "{}") for seq in range(1, last + 1)])
    if ended_at is not None:
        heads.end(c, session, "terminated", None, ended_at)
    return session


def add_endpoint(c, status="active"):
    endpoint = mint("whk")
    row = {"id": endpoint, "tenant_id": ACME, "scope": "tenant", "url": "https://example.org", "secret": "s"}
    more = {"event_types": [], "headers": "s", "status": status, "created_at": T0, "updated_at": T0}
    c.execute(tables.endpoints.insert().values(row | more))
    return endpoint


def add_delivery(c, endpoint, session, **fields):
    row = {"id": mint("dlv"), "tenant_id": ACME, "endpoint_id": endpoint, "session_id": session, "kind": "events"}
    c.execute(tables.deliveries.insert().values(row | {"status": "delivered", "created_at": T0} | fields))
    attempt = {"delivery_id": row["id"], "n": 1, "outcome": "delivered", "duration_s": 0.1, "at": T0}
    c.execute(tables.attempts.insert().values(attempt))
    return row["id"]


@pytest.fixture
def biggest(db: Database) -> list[int]:
    """Rows changed by each transaction since the test began."""
    sizes = [0]

    def committed(*_: object) -> None:
        sizes.append(0)

    def executed(_c, cursor, statement, *_: object) -> None:
        if statement.lstrip().startswith(("DELETE", "WITH")):
            sizes[-1] += max(0, cursor.rowcount)
        if statement == "COMMIT":
            committed()

    sa.event.listen(db.engine, "after_cursor_execute", executed)
    sa.event.listen(db.engine, "commit", committed)
    return sizes


def test_an_old_ended_session_goes_with_all_that_belonged_to_it(db):
    with db.write() as c:
        session = add_ended(c, length=5)
        delivery = add_delivery(c, add_endpoint(c), session, delivered_at=T0)
        assert delivery

    assert retention.trim(db, before=BEFORE) == Trimmed(
        sessions=1, events=5, deliveries=1, idempotency_keys=0, workers=0
    )

    left = [table.name for table in tables.metadata.sorted_tables if count(db, table)]
    assert left == ["tenants", "endpoints"]


def test_what_is_live_or_ended_lately_stays_whole(db):
    with db.write() as c:
        add_ended(c, ended_at=None, told_at=BEFORE)
        add_ended(c, ended_at=BEFORE)
    before = {table.name: count(db, table) for table in tables.metadata.sorted_tables}

    assert retention.trim(db, before=BEFORE) == NOTHING
    assert living.trim_living(db, before=BEFORE) == 0

    assert {table.name: count(db, table) for table in tables.metadata.sorted_tables} == before


@pytest.mark.parametrize("status", ["pending", "queued"])
def test_a_session_with_a_delivery_still_to_be_made_stays(db, status):
    with db.write() as c:
        session = add_ended(c)
        add_delivery(c, add_endpoint(c), session, status=status)
        add_delivery(c, add_endpoint(c), add_ended(c), status="dead")

    assert retention.trim(db, before=BEFORE).sessions == 1

    with db.read() as c:
        assert sessions.get(c, ACME, session, SEALER) is not None
        assert len(events.between(c, session, 0, 99)) == 3


def test_a_session_whose_lane_is_behind_stays_until_it_has_caught_up(db):
    with db.write() as c:
        session = add_ended(c)
        lane = {"endpoint_id": add_endpoint(c), "session_id": session, "cursor": 2}
        c.execute(tables.lanes.insert().values(lane))

    assert retention.trim(db, before=BEFORE) == NOTHING
    with db.write() as c:
        c.execute(tables.lanes.update().values(cursor=3))
    assert retention.trim(db, before=BEFORE).sessions == 1


def test_a_disabled_endpoint_keeps_no_session_for_ever(db):
    with db.write() as c:
        session, endpoint = add_ended(c), add_endpoint(c, status="disabled")
        add_delivery(c, endpoint, session, status="pending")
        c.execute(tables.lanes.insert().values(endpoint_id=endpoint, session_id=session, cursor=0))

    assert retention.trim(db, before=BEFORE).sessions == 1


def test_finished_deliveries_of_a_live_session_go_when_they_are_old(db):
    with db.write() as c:
        endpoint, session = add_endpoint(c), add_ended(c, ended_at=None)
        for _ in range(7):
            add_delivery(c, endpoint, session, delivered_at=T0)
        add_delivery(c, endpoint, session, status="dead")
        kept = {
            add_delivery(c, endpoint, session, delivered_at=BEFORE),
            add_delivery(c, endpoint, session, status="dead", created_at=BEFORE),
            add_delivery(c, endpoint, session, status="pending"),
        }
        add_delivery(c, endpoint, None, kind="test", status="dead")

    assert retention.trim(db, before=BEFORE, limit=30).deliveries == 9

    with db.read() as c:
        assert set(c.execute(sa.select(tables.deliveries.c.id)).scalars()) == kept
    assert count(db, tables.attempts) == 3


def test_idempotency_keys_are_kept_for_a_day_whatever_the_retention(db):
    with db.write() as c:
        for key in ("old", "young"):
            idempotency.begin(c, ACME, "POST /v1/sessions", key, "h")
        is_old = tables.idempotency.c.key == "old"
        c.execute(tables.idempotency.update().where(is_old).values(created_at=now() - retention.KEEP_KEYS))

    assert retention.trim(db, before=T0).idempotency_keys == 1

    with db.read() as c:
        assert c.execute(sa.select(tables.idempotency.c.key)).scalars().all() == ["young"]


def test_workers_long_lost_go_unless_something_is_still_theirs(db):
    owner = Incarnation("wkr_owns")
    with db.write() as c:
        for name in (owner, "wkr_gone", "wkr_lives"):
            told = {"name": name, "volume_id": None, "address": None, "capacity": 1, "agents": {}, "at": T0}
            workers.register(c, incarnation=Incarnation(name), role="worker", **told)
        workers.set_state(c, owner, "lost")
        workers.set_state(c, Incarnation("wkr_gone"), "lost")
        session = add_session(c)
        c.execute(tables.heads.update().where(tables.heads.c.session_id == session).values(owner=owner))

    assert retention.trim(db, before=BEFORE).workers == 1

    with db.read() as c:
        assert {row.incarnation for row in workers.list_all(c)} == {owner, "wkr_lives"}


def test_no_transaction_removes_more_rows_than_allowed(db, biggest):
    with db.write() as c:
        for length in (0, 1, 20, 21, 47):
            add_ended(c, length=length)

    assert retention.trim(db, before=BEFORE, limit=20).events == 89

    assert 0 < max(biggest) <= 20
    assert len(biggest) > 10


def test_a_trimmed_log_says_from_where_it_still_is(db):
    with db.write() as c:
        session = add_ended(c, length=25, ended_at=None)

    assert retention.trim_log(db, session, upto=12, limit=5) == 12
    assert retention.trim_log(db, session, upto=12) == 0

    with db.read() as c:
        assert heads.get(c, session).first_seq == 13
        assert [event.seq for event in events.between(c, session, 0, 99)] == list(range(13, 26))


def test_trimming_beyond_the_end_of_a_log_leaves_its_numbers_alone(db):
    with db.write() as c:
        session = add_ended(c, length=3, ended_at=None)

    assert retention.trim_log(db, session, upto=99) == 3

    with db.write() as c:
        assert heads.get(c, session).first_seq == 4
        assert heads.reserve(c, session, 1, T0) == 4


def test_a_trim_that_was_interrupted_is_completed_by_the_next_one(db):
    with db.write() as c:
        session = add_ended(c, length=30)
        c.execute(tables.blobs.delete())
    retention.trim_log(db, session, upto=17, limit=4)

    assert retention.trim(db, before=BEFORE) == Trimmed(
        sessions=1, events=13, deliveries=0, idempotency_keys=0, workers=0
    )
    assert retention.trim(db, before=BEFORE) == NOTHING


def test_batches_go_with_their_items_when_they_ended_long_ago(db):
    batch = {"tenant_id": ACME, "status": "completed", "concurrency": 1, "total": 2, "metadata": {}, "created_at": T0}
    with db.write() as c:
        for name, ended_at in (("bat_old", T0), ("bat_new", after(2000)), ("bat_open", None)):
            c.execute(tables.batches.insert().values(batch | {"id": name, "ended_at": ended_at}))
            rows = [{"batch_id": name, "n": n, "kind": "prompt", "status": "succeeded"} for n in range(2)]
            c.execute(tables.batch_items.insert(), rows)

    assert retention.trim(db, before=BEFORE).batches == 1

    with db.read() as c:
        assert set(c.execute(sa.select(tables.batches.c.id)).scalars()) == {"bat_new", "bat_open"}
    assert count(db, tables.batch_items) == 4


# --- living sessions ------------------------------------------------------------------------------------------


def add_living(c, *, old=12, young=3):
    """A living session that told `old` events at T0 and `young` at BEFORE, each with a blob."""
    session = add_ended(c, length=0, ended_at=None)
    last = heads.reserve(c, session, old + young, BEFORE)
    times = [T0] * old + [BEFORE] * young
    made = enumerate(times, start=1)
    events.insert(c, [Event(session, seq, "message", None, to_text(at), "{}") for seq, at in made])
    for at in times:
        blobs.create(c, id=mint("blb"), session=session, media_type="text/plain", content=b"x", at=at)
    assert last == old + young
    return session


def held(db, session) -> list[int]:
    with db.read() as c:
        seqs = [event.seq for event in events.between(c, session, 0, 99)]
        assert heads.get(c, session).first_seq == (seqs or [heads.get(c, session).last_seq + 1])[0]
    return seqs


def add_lane(c, endpoint, session, cursor):
    c.execute(tables.lanes.insert().values(endpoint_id=endpoint, session_id=session, cursor=cursor))


def test_what_a_living_session_told_long_ago_goes_with_its_blobs_a_little_at_a_time(db, biggest):
    with db.write() as c:
        sessions_made = [add_living(c), add_living(c, young=0)]

    biggest.append(0)
    assert living.trim_living(db, before=BEFORE, limit=5) == 24

    assert [held(db, session) for session in sessions_made] == [[13, 14, 15], []]
    assert count(db, tables.blobs) == 3
    assert max(biggest) <= 5
    assert living.trim_living(db, before=BEFORE) == 0


def test_what_a_lane_or_a_delivery_still_has_to_send_is_kept(db):
    with db.write() as c:
        behind, pending, disabled, unheard = (add_living(c) for _ in range(4))
        endpoint = add_endpoint(c)
        for session, cursor in ((behind, 4), (pending, 15)):
            add_lane(c, endpoint, session, cursor)
        add_delivery(c, endpoint, pending, status="pending", first_seq=7, last_seq=15)
        off = add_endpoint(c, status="disabled")
        for session in (disabled, unheard):
            add_lane(c, off, session, 2)
        add_lane(c, endpoint, disabled, 15)

    assert living.trim_living(db, before=BEFORE) == 4 + 6 + 12

    assert held(db, behind)[0] == 5
    assert held(db, pending)[0] == 7
    assert held(db, disabled)[0] == 13
    # A tenant's endpoint that was there first, and nobody has begun to deliver to it.
    assert held(db, unheard)[0] == 1
