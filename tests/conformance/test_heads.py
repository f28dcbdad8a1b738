"""The head row on both databases: numbers without holes, fences that hold, claims within capacity."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.domain import clock
from shared.domain.event import Draft, EventType
from shared.domain.ids import Incarnation, SessionId
from shared.domain.input import InputKind, Wish
from shared.domain.session import SessionStatus
from shared.events import front, owner
from shared.events.codec import prepare
from shared.events.owner import Entry
from shared.store import events, heads, inputs, ownership, workers
from shared.store.database import Database, DatabaseAway
from tests.fixtures.seeds import Seeds, plant
from tests.fixtures.waiting import eventually


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url, pool_size=12, timeout_s=20.0)
    yield opened
    opened.close()


@pytest.fixture
def seeds(database: Database) -> Seeds:
    return plant(database)


def claim(database: Database, worker: Incarnation, volume: str = "vol") -> heads.Head | None:
    with database.write() as connection:
        return ownership.claim(connection, worker, volume)


def notice(number: int) -> Draft:
    return Draft(EventType.NOTICE, {"kind": "test", "number": number})


def entry(session: SessionId, epoch: int, batch: int, *numbers: int) -> Entry:
    return Entry(session, epoch, batch, [prepare(session, notice(number)) for number in numbers])


def test_owner_and_front_share_one_sequence_without_holes(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    head = claim(database, seeds.worker())
    assert head is not None

    owner.append(database, [entry(session, head.epoch, 1, 1, 2)])
    with database.write() as connection:
        front.append(connection, session, [Draft(EventType.TURN_QUEUED, {})])
    owner.append(database, [entry(session, head.epoch, 2, 3)])

    with database.read() as connection:
        log = events.between(connection, session, 0, 100)
    assert [(event.seq, event.type) for event in log] == [
        (1, "notice"),
        (2, "notice"),
        (3, "turn_queued"),
        (4, "notice"),
    ]


def test_an_owner_cannot_append_after_its_session_was_taken_over(database: Database, seeds: Seeds) -> None:
    session, lost = seeds.session(), seeds.worker()
    head = claim(database, lost)
    assert head is not None
    with database.write() as connection:
        ownership.take_over(connection, session, lost)

    appended = owner.append(database, [entry(session, head.epoch, 1, 1)])

    assert appended.fenced == {session}
    assert appended.events == []
    with database.read() as connection:
        assert events.between(connection, session, 0, 100) == []


def test_a_fenced_session_does_not_keep_others_from_being_committed(database: Database, seeds: Seeds) -> None:
    worker = seeds.worker()
    heads_claimed = {}
    for _ in range(3):
        seeds.session()
        head = claim(database, worker)
        assert head is not None
        heads_claimed[head.session] = head
    fenced, *others = heads_claimed
    with database.write() as connection:
        ownership.take_over(connection, fenced, worker)

    appended = owner.append(database, [entry(session, head.epoch, 1, 7) for session, head in heads_claimed.items()])

    assert appended.fenced == {fenced}
    assert sorted(event.session for event in appended.events) == sorted(others)


def test_an_entry_is_committed_once_however_often_it_is_tried(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    head = claim(database, seeds.worker())
    assert head is not None
    once = entry(session, head.epoch, 1, 1, 2)

    owner.append(database, [once])
    again = owner.append(database, [once])

    assert again.repeated == {session}
    assert again.fenced == frozenset()
    with database.read() as connection:
        assert len(events.between(connection, session, 0, 100)) == 2


def test_an_effect_that_fails_leaves_no_event(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    head = claim(database, seeds.worker())
    assert head is not None

    def breaks(_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        owner.append(database, [Entry(session, head.epoch, 1, [prepare(session, notice(1))], (breaks,))])

    with database.read() as connection:
        left = heads.get(connection, session)
        assert left is not None
        assert left.last_seq == 0


def test_racing_owners_leave_neither_stale_rows_nor_holes(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    # Room for ever: what a lost worker held is never counted back.
    workers_ = [seeds.worker(f"w{number}", capacity=1_000_000) for number in range(3)]
    stop = threading.Event()
    takeovers: list[Incarnation] = []

    def fight(me: Incarnation) -> int:
        written = 0
        while not stop.is_set():
            with database.write() as connection:
                held = heads.get(connection, session)
                assert held is not None
                if held.owner is not None and held.owner != me:
                    ownership.take_over(connection, session, held.owner)
                    ownership.settle(connection, session, SessionStatus.PARKED, clock.now())
                    takeovers.append(me)
                head = ownership.claim(connection, me, "vol", session=session)
            if head is None:
                continue
            for batch in range(1, 6):
                appended = owner.append(database, [entry(session, head.epoch, batch, head.epoch)])
                written += len(appended.events)
                if appended.fenced:
                    break
        return written

    with ThreadPoolExecutor(3) as pool:
        fights = [pool.submit(fight, worker) for worker in workers_]
        try:
            eventually(lambda: len(takeovers) >= 25, timeout_s=60)
        finally:
            stop.set()
        written = sum(fight_.result() for fight_ in fights)

    with database.read() as connection:
        log = events.page(connection, session, 0, 100_000)
    assert [event.seq for event in log] == list(range(1, written + 1))
    epochs = [int(event.data.rpartition(":")[2].rstrip("}")) for event in log]
    # An event of an older epoch behind one of a newer epoch would have been written after the takeover.
    assert epochs == sorted(epochs)
    assert written >= 10


def test_capacity_holds_against_many_claims_at_once(database: Database, seeds: Seeds) -> None:
    capacity = 5
    worker = seeds.worker(capacity=capacity)
    for _ in range(capacity + 15):
        seeds.session()

    with ThreadPoolExecutor(10) as pool:
        claimed = [head for head in pool.map(lambda _: claim(database, worker), range(40)) if head is not None]

    assert len(claimed) == capacity
    assert max(Counter(head.session for head in claimed).values()) == 1
    with database.read() as connection:
        row = workers.get(connection, worker)
    assert row is not None
    assert row.used == capacity


def test_the_longest_waiting_session_is_claimed_first(database: Database, seeds: Seeds) -> None:
    waiting = [seeds.session() for _ in range(3)]
    worker = seeds.worker()

    claimed = [claim(database, worker) for _ in range(3)]

    assert [head and head.session for head in claimed] == waiting
    assert claim(database, worker) is None


def test_a_session_stays_on_the_volume_that_holds_its_files(database: Database, seeds: Seeds) -> None:
    session, first = seeds.session(), seeds.worker("a", volume="disk-1")
    stranger, neighbour = seeds.worker("b", volume="disk-2"), seeds.worker("c", volume="disk-1")
    head = claim(database, first, "disk-1")
    assert head is not None
    with database.write() as connection:
        ownership.hand_over(connection, session, head.epoch, SessionStatus.PARKED, clock.now())

    assert claim(database, stranger, "disk-2") is None
    again = claim(database, neighbour, "disk-1")
    assert again is not None
    assert again.epoch > head.epoch


def test_a_session_is_not_released_while_an_input_is_ahead(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    head = claim(database, seeds.worker())
    assert head is not None

    with database.write() as connection:
        assert not ownership.release(connection, session, head.epoch, SessionStatus.PARKED)
        heads.set_done_input(connection, session, head.last_input)
        inputs.put(connection, Wish(session, InputKind.PROMPT), clock.now())
        assert not ownership.release(connection, session, head.epoch, SessionStatus.PARKED)
        heads.set_done_input(connection, session, head.last_input + 1)
        assert ownership.release(connection, session, head.epoch, SessionStatus.PARKED)
    assert claim(database, seeds.worker("b")) is None


def test_a_released_slot_can_be_taken_again(database: Database, seeds: Seeds) -> None:
    worker = seeds.worker(capacity=1)
    first = seeds.session()
    seeds.session()
    head = claim(database, worker)
    assert head is not None
    assert claim(database, worker) is None

    with database.write() as connection:
        heads.end(connection, first, "terminated", None, clock.now())

    assert claim(database, worker) is not None


def test_an_ended_session_takes_no_inputs(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    with database.write() as connection:
        assert heads.end(connection, session, "terminated", None, clock.now())
        assert not heads.end(connection, session, "terminated", None, clock.now())

        assert inputs.put(connection, Wish(session, InputKind.PROMPT), clock.now()) is None


def test_inputs_are_numbered_without_holes_by_parallel_callers(database: Database, seeds: Seeds) -> None:
    session = seeds.session(is_wanted=False)

    def put(_: int) -> int | None:
        with database.write() as connection:
            return inputs.put(connection, Wish(session, InputKind.PROMPT), clock.now())

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(put, range(40)))

    assert sorted(number or 0 for number in numbers) == list(range(1, 41))


def test_an_illegal_move_changes_nothing(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    with database.write() as connection:
        assert not heads.set_status(connection, session, SessionStatus.WAITING)
        assert heads.set_status(connection, session, SessionStatus.IDLE)
        heads.end(connection, session, "terminated", None, clock.now())
        assert not heads.set_status(connection, session, SessionStatus.IDLE)


def test_large_data_is_kept_aside_and_linked(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    head = claim(database, seeds.worker())
    assert head is not None
    large = Draft(EventType.TOOL_RESULT, {"tool_call_id": "t1", "output": "é" * 100_000, "is_error": False})

    appended = owner.append(database, [Entry(session, head.epoch, 1, [prepare(session, large)])])

    data = appended.events[0].data
    assert len(data.encode()) < 64 * 1024
    assert '"tool_call_id":"t1"' in data
    assert '"size":200000' in data


def test_what_agents_print_can_be_stored_on_both_databases(database: Database, seeds: Seeds) -> None:
    session = seeds.session()
    head = claim(database, seeds.worker())
    assert head is not None
    hostile = Draft(EventType.MESSAGE, {"text": "a\x00b\ud800c", "number": float("inf"), "k\x00": [{"\udfff": "\x00"}]})

    appended = owner.append(database, [Entry(session, head.epoch, 1, [prepare(session, hostile)])])

    with database.read() as connection:
        stored = events.between(connection, session, 0, 1)
    assert stored == appended.events
    assert "\x00" not in stored[0].data
    stored[0].envelope().encode()


def test_owners_that_no_longer_beat_are_found(database: Database, seeds: Seeds) -> None:
    seeds.session()
    worker = seeds.worker()
    claim(database, worker)
    with database.write() as connection:
        assert ownership.orphaning_owners(connection) == []
        workers.remove(connection, worker)

        assert ownership.orphaning_owners(connection) == [worker]


def test_a_transaction_the_database_ended_is_told_as_the_database_being_away(postgres_url: str) -> None:
    database = Database(postgres_url, timeout_s=0.2)

    def pauses() -> None:
        with database.write() as connection:
            heads.get(connection, SessionId("ses_none"))
            # Longer than the server lets a transaction stand idle: as a process stopped in the middle of it.
            threading.Event().wait(1.0)
            heads.get(connection, SessionId("ses_none"))

    with pytest.raises(DatabaseAway):
        pauses()

    with database.read() as connection:
        assert heads.get(connection, SessionId("ses_none")) is None
    database.close()
