"""Celery's side of a worker, and its threads: the gate before `start`, the doorbells, the beat, the sweep."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.contrib.testing.worker import start_worker

from shared.domain.ids import BatchId, SessionId, mint_session
from shared.queue import PROMPT, START_QUEUE, add_queues, make_app, queue_named, worker_queue
from shared.store import ownership, workers
from shared.store.database import Database
from shared.telemetry import metrics
from tests.fixtures.broker import Broker
from tests.fixtures.outages import written_by_another
from tests.fixtures.seeds import plant
from tests.fixtures.waiting import eventually
from workers import steps
from workers.maintenance.beat import Beat, Ears
from workers.maintenance.sweep import Sweep
from workers.tasks import Bells, add_tasks

# Celery's testing worker leaves its hub's sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass
class Desk:
    """The host's side of one worker, as far as Celery sees it."""

    name: str
    has_room: bool = True
    hosted: set[SessionId] = field(default_factory=set)
    gate: steps.Gate = field(default_factory=steps.Gate)
    looks: list[SessionId] = field(default_factory=list)
    offers: int = 0
    batches: list[BatchId] = field(default_factory=list)
    asked_for_room: int = 0

    def start(self) -> None:
        """Nothing to begin."""

    def ask_to_stop(self) -> None:
        """Nothing to drain."""

    def stop(self) -> None:
        """Nothing is hosted."""

    def room(self) -> bool:
        self.asked_for_room += 1
        self.gate.set(has_room=self.has_room)
        return self.has_room

    def offer(self) -> None:
        self.offers += 1

    def bells(self) -> Bells:
        return Bells(
            is_hosted=lambda session: session in self.hosted,
            has_room=self.room,
            look=self.looks.append,
            offer=self.offer,
            batch=self.batches.append,
        )


@contextmanager
def consuming(url: str, desk: Desk) -> Iterator[None]:
    """A real Celery worker in a thread."""
    app = make_app(url)
    add_tasks(app, desk.bells())
    steps.add_steps(app, desk, desk.gate)
    add_queues(app, desk.name)
    with start_worker(
        app,
        pool="threads",
        concurrency=2,
        perform_ping_check=False,
        hostname=f"{desk.name}@test",
        shutdown_timeout=20.0,
    ):
        yield


@dataclass
class Ringer:
    """Rings, and looks what waits in Redis."""

    url: str

    def ring(self, queue: str, session: SessionId | None = None) -> None:
        make_app(self.url).send_task(PROMPT, args=(session or mint_session(),), queue=queue_named(queue))

    def waiting(self, queue: str) -> int:
        with redis.Redis.from_url(self.url) as client:
            return int(client.llen(queue))


@pytest.fixture
def ringer(valkey_url: str) -> Ringer:
    return Ringer(valkey_url)


# --- the gate --------------------------------------------------------------------------------------------------


def test_a_closed_gate_leaves_start_alone_and_hears_its_own_queue(ringer: Ringer) -> None:
    desk = Desk("a", hosted={SessionId("ses_mine")})
    with consuming(ringer.url, desk):
        ringer.ring(START_QUEUE)
        eventually(lambda: desk.offers == 1, about="open: heard")

        desk.gate.set(has_room=False)
        # What is asked of the broker is done in order, so this one has been heard when the gate is closed.
        ringer.ring(worker_queue("a"), SessionId("ses_mine"))
        eventually(lambda: desk.looks == ["ses_mine"])
        before = desk.offers
        for _ in range(3):
            ringer.ring(START_QUEUE)
        ringer.ring(worker_queue("a"), SessionId("ses_mine"))
        eventually(lambda: len(desk.looks) == 2)
        assert ringer.waiting(START_QUEUE) + desk.offers - before == 3
        assert ringer.waiting(START_QUEUE) >= 2

        desk.gate.set(has_room=True)
        eventually(lambda: desk.offers - before == 3, about="open again: all heard")
        assert ringer.waiting(START_QUEUE) == 0


def test_a_gate_closed_before_there_is_a_connection_stays_closed(ringer: Ringer) -> None:
    desk = Desk("a", hosted={SessionId("ses_mine")})
    desk.gate.set(has_room=False)
    ringer.ring(START_QUEUE)

    with consuming(ringer.url, desk):
        # Twice: the first may overtake `start`, since one's own queue goes first.
        for count in (1, 2):
            ringer.ring(worker_queue("a"), SessionId("ses_mine"))
            eventually(lambda count=count: len(desk.looks) == count)

        assert desk.offers == 0
    assert ringer.waiting(START_QUEUE) == 1


def test_a_gate_stays_closed_when_redis_comes_back(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    desk = Desk("a", hosted={SessionId("ses_mine")})
    ringer = Ringer(broker.url)
    try:
        with consuming(broker.url, desk):
            desk.gate.set(has_room=False)
            broker.kill()
            # Set while nobody is connected: it must neither fail nor be forgotten.
            desk.gate.set(has_room=True)
            desk.gate.set(has_room=False)
            broker.start()
            ringer.ring(START_QUEUE)
            ringer.ring(worker_queue("a"), SessionId("ses_mine"))
            eventually(lambda: desk.looks == ["ses_mine"], timeout_s=20, about="connected again")
            ringer.ring(worker_queue("a"), SessionId("ses_mine"))
            eventually(lambda: len(desk.looks) == 2)

            assert desk.offers == 0
            desk.gate.set(has_room=True)
            eventually(lambda: desk.offers == 1, about="open")
    finally:
        broker.close()


# --- the doorbells ---------------------------------------------------------------------------------------------


def test_a_full_worker_hands_a_start_on_to_one_with_room(ringer: Ringer) -> None:
    full, free = Desk("full", has_room=False), Desk("free")
    with consuming(ringer.url, full):
        ringer.ring(START_QUEUE)
        eventually(lambda: full.asked_for_room, about="the full one hears it")
        eventually(lambda: ringer.waiting(START_QUEUE) == 1, about="and puts it back")
        # Once it has said no it stops listening, rather than taking and putting back for ever.
        asked = full.asked_for_room
        assert asked <= 3
        with consuming(ringer.url, free):
            eventually(lambda: free.offers == 1, about="the free one hears it")

        assert full.offers == 0
        assert full.asked_for_room <= asked + 2
    assert ringer.waiting(START_QUEUE) == 0


def test_a_doorbell_of_a_full_workers_own_queue_is_dropped(ringer: Ringer) -> None:
    """It was for a session this worker has given up since; the sweep of whoever may host it finds it."""
    full = Desk("full", has_room=False)
    with consuming(ringer.url, full):
        ringer.ring(worker_queue("full"))
        eventually(lambda: full.asked_for_room == 1)
        eventually(lambda: ringer.waiting("unacked") == 0)

    assert (full.offers, full.looks) == (0, [])
    assert ringer.waiting(worker_queue("full")) == 0


def test_a_doorbell_of_a_session_hosted_here_is_for_its_host_whichever_queue_it_came_by(ringer: Ringer) -> None:
    desk = Desk("a", has_room=False, hosted={SessionId("ses_mine")})
    with consuming(ringer.url, desk):
        ringer.ring(worker_queue("a"), SessionId("ses_mine"))
        ringer.ring(START_QUEUE, SessionId("ses_mine"))
        eventually(lambda: desk.looks == ["ses_mine"] * 2)

    assert desk.offers == 0


# --- the beat --------------------------------------------------------------------------------------------------


@dataclass
class Heard:
    """Ears that keep what they hear, in order."""

    words: list[Any] = field(default_factory=list)
    ages_s: list[float] = field(default_factory=list)
    fails: bool = False

    def beat(self, age_s: float) -> None:
        self.words.append("beat")
        self.ages_s.append(age_s)
        if self.fails:
            raise RuntimeError("an ear that hurts")

    def returned(self, ours: Collection[SessionId]) -> None:
        self.words.append(set(ours))

    def lost(self) -> None:
        self.words.append("lost")

    def ears(self) -> Ears:
        return Ears(on_beat=self.beat, on_return=self.returned, on_lost=self.lost)

    def count(self, word: Any) -> int:
        return self.words.count(word)


def test_a_beat_goes_on_until_a_peer_declares_it_lost(database_url: str) -> None:
    database = Database(database_url)
    me, heard = plant(database).worker(), Heard()

    with Beat(database, me, heard.ears(), beat_s=0.02, freeze_s=60.0) as beat:
        eventually(lambda: heard.count("beat") >= 3)
        assert beat.age_s < 10
        with database.write() as connection:
            assert workers.get(connection, me).beat >= 3
            workers.set_state(connection, me, "lost")
        eventually(lambda: heard.count("lost") == 1)
        so_far = len(heard.words)

    assert heard.words[-1] == "lost"
    assert len(heard.words) == so_far
    database.close()


def test_after_a_pause_the_sessions_that_are_still_ours_are_told_before_the_beat(sqlite_url: str) -> None:
    database = Database(sqlite_url, timeout_s=0.2)
    seeds, heard = plant(database), Heard()
    me = seeds.worker()
    session = seeds.session()
    with database.write() as connection:
        assert ownership.claim(connection, me, "vol", session=session)

    with Beat(database, me, heard.ears(), beat_s=0.02, freeze_s=0.4) as beat:
        eventually(lambda: heard.count("beat") >= 1)
        with written_by_another(sqlite_url):
            eventually(lambda: beat.age_s > 0.6)
            before = len(heard.words)
        eventually(lambda: len(heard.words) >= before + 3)

    assert heard.words[before:][:3] == [{session}, "beat", "beat"]
    assert heard.count({session}) == 1
    database.close()


def test_a_beat_that_waited_for_the_store_is_told_with_its_age(sqlite_url: str) -> None:
    database, heard, waited = Database(sqlite_url, timeout_s=20.0), Heard(), time.monotonic()

    with Beat(database, plant(database).worker(), heard.ears(), beat_s=0.02, freeze_s=60.0) as beat:
        with written_by_another(sqlite_url):
            so_far = len(heard.words)
            eventually(lambda: beat.age_s > 0.4)
        eventually(lambda: len(heard.words) > so_far + 1)

    assert 0.2 < max(heard.ages_s) < time.monotonic() - waited
    database.close()


def test_an_ear_that_fails_does_not_end_the_beat(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    heard = Heard(fails=True)

    with Beat(database, plant(database).worker(), heard.ears(), beat_s=0.02, freeze_s=60.0):
        eventually(lambda: heard.count("beat") >= 3)
    database.close()


# --- the sweep's thread ----------------------------------------------------------------------------------------


@dataclass
class Faulty:
    """A sweeper whose first rounds fail in a way nobody foresaw."""

    rounds: int = 0
    looks: int = 0

    def watch(self) -> None:
        self.looks += 1

    def sweep(self) -> None:
        self.rounds += 1
        if self.rounds < 3:
            raise KeyError("unforeseen")


def test_a_round_that_fails_in_an_unforeseen_way_is_followed_by_others() -> None:
    def failed() -> float:
        return metrics.SWEEPS.labels(outcome="failed")._value.get()

    faulty, before = Faulty(), failed()

    with Sweep(faulty, 0.01):  # type: ignore[arg-type]
        eventually(lambda: faulty.rounds >= 4)

    assert failed() == before + 2
    # Peers are watched between two rounds, too.
    assert faulty.looks >= faulty.rounds
    stopped_at = faulty.rounds
    until = time.monotonic() + 0.05
    eventually(lambda: time.monotonic() > until)
    assert faulty.rounds == stopped_at
    assert not [thread for thread in threading.enumerate() if thread.name == "sweep"]
