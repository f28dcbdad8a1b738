"""Two workers of one name: the dead one is found out within two beats, and nobody begins beside a live one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.domain import clock
from shared.domain.ids import Incarnation, mint_incarnation
from shared.store import workers
from shared.store.database import Database
from tests.fixtures.fleet import CALM, Fleet
from tests.fixtures.seeds import Seeds, plant
from workers.maintenance import namesakes
from workers.maintenance.namesakes import NameTaken

BEAT_S = 0.2


@pytest.fixture
def seeds(database_url: str) -> Iterator[Seeds]:
    database = Database(database_url)
    yield plant(database)
    database.close()


@contextmanager
def beating(database: Database, worker: Incarnation) -> Iterator[None]:
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S / 4):
            with database.write() as connection:
                workers.beat(connection, worker, clock.now())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def test_with_nobody_of_the_name_nothing_is_waited_for(seeds: Seeds) -> None:
    seeds.worker("other")
    began_s = time.monotonic()

    assert namesakes.silent(seeds.database, "me", mint_incarnation(), beat_s=60.0) == {}

    assert time.monotonic() - began_s < 60


def test_one_that_beats_keeps_the_name(seeds: Seeds) -> None:
    other = seeds.worker("me")

    # It looks for as long as this beat says, which a busy machine may need.
    with beating(seeds.database, other), pytest.raises(NameTaken, match="'me' is running already"):
        namesakes.silent(seeds.database, "me", mint_incarnation(), beat_s=5.0)


def test_one_that_stands_still_is_taken_over_unless_it_comes_back(seeds: Seeds) -> None:
    dead, me = seeds.worker("me"), mint_incarnation()

    earlier = namesakes.silent(seeds.database, "me", me, beat_s=BEAT_S)

    assert earlier == {dead: 0}
    with seeds.database.write() as connection:
        namesakes.require_silence(connection, "me", me, earlier)
        workers.beat(connection, dead, clock.now())
        with pytest.raises(NameTaken):
            namesakes.require_silence(connection, "me", me, earlier)


def test_a_second_worker_of_a_name_says_so_and_ends_and_the_first_goes_on(fleet_on_sqlite: Fleet) -> None:
    fleet = fleet_on_sqlite
    client = fleet.up("one", **CALM)
    made = client.start("sleep 4; say mine")

    second = fleet.launch("second", "worker", 0, CORRAL_WORKER_NAME="one", CORRAL_BEAT_S="2", **CALM)

    assert second.popen.wait(30) == 1
    assert second.end_of_log().startswith("Error: A worker named 'one' is running already.")
    assert second.end_of_log().count("\n") == 1
    assert client.turn(made["turn"]["id"])["result_text"] == "mine"
