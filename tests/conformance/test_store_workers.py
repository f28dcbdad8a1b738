"""Worker rows: the beat, the slots, and what a lost worker can no longer do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.domain.errors import NothingChanged
from shared.domain.ids import Incarnation
from shared.store import workers
from tests.fixtures.store_rows import T0, after, at_once

ME = Incarnation("wkr_me")


def register(c, incarnation=ME, **fields):
    told = {
        "name": "w1",
        "role": "worker",
        "volume_id": "vol_1",
        "address": "10.0.0.1:8421",
        "capacity": 5,
        "agents": {"demo": {"ready": True}},
        "at": T0,
    }
    workers.register(c, incarnation=incarnation, **(told | fields))
    return incarnation


def test_a_worker_comes_back_as_it_registered(db):
    with db.write() as c:
        register(c)
        row = workers.get(c, ME)

    assert (row.name, row.role, row.state, row.volume_id) == ("w1", "worker", "live", "vol_1")
    assert (row.address, row.capacity, row.used, row.beat) == ("10.0.0.1:8421", 5, 0, 0)
    assert row.agents == {"demo": {"ready": True}}
    assert row.started_at == row.beat_at == T0


def test_a_beat_counts_up_until_the_worker_is_lost(db):
    with db.write() as c:
        register(c)

        assert workers.beat(c, ME, after(2))
        assert workers.set_state(c, ME, "draining")
        assert workers.beat(c, ME, after(4))
        assert (workers.get(c, ME).beat, workers.get(c, ME).beat_at) == (2, after(4))
        assert workers.set_state(c, ME, "lost")
        assert not workers.beat(c, ME, after(6))
        assert workers.get(c, ME).beat == 2
        assert not workers.beat(c, Incarnation("wkr_none"), T0)


def test_a_lost_worker_stays_lost(db):
    with db.write() as c:
        register(c)
        workers.set_state(c, ME, "lost")

        assert not workers.set_state(c, ME, "live")
        assert workers.get(c, ME).state == "lost"


def test_live_are_those_of_the_role_that_nobody_declared_lost(db):
    with db.write() as c:
        register(c, at=after(1))
        draining = register(c, Incarnation("wkr_drains"), at=T0)
        workers.set_state(c, draining, "draining")
        workers.set_state(c, register(c, Incarnation("wkr_lost")), "lost")
        sender = register(c, Incarnation("wkr_sends"), role="delivery")

        assert [row.incarnation for row in workers.live(c, "worker")] == [draining, ME]
        assert [row.incarnation for row in workers.live(c, "delivery")] == [sender]
        assert len(workers.list_all(c)) == 4


def test_predecessors_are_earlier_lives_of_the_same_name_and_role(db):
    with db.write() as c:
        register(c)
        earlier = register(c, Incarnation("wkr_earlier"))
        register(c, Incarnation("wkr_other"), name="w2")
        register(c, Incarnation("wkr_sends"), role="delivery")

        assert [row.incarnation for row in workers.predecessors(c, "w1", "worker", ME)] == [earlier]


def test_a_volume_is_there_while_a_worker_of_it_is(db):
    with db.write() as c:
        register(c)

        assert workers.has_volume(c, "vol_1")
        assert not workers.has_volume(c, "vol_2")
        workers.set_state(c, ME, "lost")
        assert not workers.has_volume(c, "vol_1")
        assert workers.has_volume(c, None)


@pytest.mark.parametrize("capacity", [0, 1, 7])
def test_twenty_claims_at_once_never_take_more_slots_than_there_are(db, capacity):
    with db.write() as c:
        register(c, capacity=capacity)

    taken = at_once(db, 20, lambda c: workers.take_slot(c, ME))

    assert taken.count(True) == capacity
    with db.read() as c:
        assert workers.get(c, ME).used == capacity


def test_slots_taken_and_freed_by_many_at_once_are_counted_right(db):
    with db.write() as c:
        register(c, capacity=3)

    def take_and_free(c):
        if workers.take_slot(c, ME):
            assert workers.get(c, ME).used <= 3
            workers.free_slot(c, ME)

    assert at_once(db, 20, take_and_free) == [None] * 20
    with db.read() as c:
        assert workers.get(c, ME).used == 0


def test_a_slot_taken_in_a_transaction_that_fails_is_free_again(db):
    with db.write() as c:
        register(c, capacity=1)

    def take_and_fail(c):
        assert workers.take_slot(c, ME)
        raise NothingChanged("on purpose")

    assert isinstance(at_once(db, 1, take_and_fail)[0], NothingChanged)
    with db.write() as c:
        assert workers.take_slot(c, ME)


@pytest.mark.parametrize("state", ["draining", "lost"])
def test_a_worker_that_is_not_live_takes_nothing_new_and_may_still_free(db, state):
    with db.write() as c:
        register(c)
        workers.take_slot(c, ME)
        workers.set_state(c, ME, state)

        assert not workers.take_slot(c, ME)
        workers.free_slot(c, ME)
        workers.free_slot(c, ME)
        assert workers.get(c, ME).used == 0


def test_a_beat_waits_for_the_rescuer_that_holds_the_row(db):
    with db.write() as c:
        register(c)
    locked, judged = threading.Event(), threading.Event()

    def rescue():
        with db.write() as c:
            assert workers.lock(c, ME).beat == 0
            locked.set()
            assert judged.wait(10)
            workers.set_state(c, ME, "lost")

    def beat():
        with db.write() as c:
            return workers.beat(c, ME, T0)

    with ThreadPoolExecutor(2) as pool:
        rescuer = pool.submit(rescue)
        assert locked.wait(10)
        beaten = pool.submit(beat)
        judged.set()
        rescuer.result(20)

        assert beaten.result(20) is False


def test_locking_or_removing_a_worker_that_is_gone_is_no_trouble(db):
    with db.write() as c:
        register(c)
        workers.set_agents(c, ME, {"claude": {"ready": False}})
        assert workers.get(c, ME).agents == {"claude": {"ready": False}}
        workers.remove(c, ME)
        workers.remove(c, ME)

        assert workers.lock(c, ME) is None
        assert workers.get(c, ME) is None
        assert not workers.take_slot(c, ME)
