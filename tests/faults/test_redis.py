"""Redis is flushed, paused, killed, or not there at all: hints are late, and nothing else is different."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.webhook_receiver import Receiver, receiving
from tests.fixtures.broker import Broker
from tests.fixtures.databases import sqlite_copy
from tests.fixtures.fleet import Client, Fleet, running
from tests.fixtures.waiting import eventually
from tests.fixtures.witness import Listener, listening, whole_log

SWEEP_S = 1.0
"""As in the product: what is found sooner was told by a hint."""


@contextmanager
def brokered(folder: Path, template: Path) -> Iterator[tuple[Fleet, Broker]]:
    broker = Broker(folder)
    try:
        with running(
            folder, sqlite_copy(template, folder), broker.url, CORRAL_SWEEP_S=str(SWEEP_S), CORRAL_RATE_LIMIT="100000"
        ) as fleet:
            yield fleet, broker
    finally:
        broker.close()


@dataclass
class Scene:
    """A running fleet, and one session whose every event goes to a reader and a receiver."""

    fleet: Fleet
    broker: Broker
    client: Client
    receiver: Receiver
    path: str = ""
    """Where the session's events go."""

    def prompt(self, session: str, text: str) -> str:
        """Send a prompt that must be accepted quickly, whatever Redis does."""
        began = time.monotonic()
        turn = self.client.post(f"/sessions/{session}/prompts", {"text": text})["id"]
        # A second beyond the slowest time-out of anything that might wait for Redis would show here.
        assert time.monotonic() - began < 1.0
        return str(turn)

    def is_done(self, turn: str, *, within_s: float) -> None:
        """A turn that must run to its end, late at most."""
        assert self.client.turn(turn, timeout_s=within_s)["status"] == "completed"

    def session(self) -> str:
        self.path = f"/hook-{time.monotonic_ns()}"
        made = self.client.start("say first", webhook={"url": self.receiver.url(self.path)})
        self.client.turn(made["turn"]["id"])
        return str(made["id"])

    def nothing_is_missed(self, session: str, listener: Listener) -> None:
        # Nothing more is to come.
        self.client.session(session, "idle")
        log = whole_log(self.client, session)
        assert listener.has_all(len(log))
        self.receiver.wait_for_seqs(self.path, [event["seq"] for event in log], timeout_s=15)

    def warnings(self) -> list[str]:
        answer = self.fleet["api"].ready()
        assert answer is not None
        assert answer.status_code == 200
        return [warning for warning in answer.json()["warnings"] if "Redis" in warning]

    def bells_ring_again(self, *, within_s: float) -> None:
        """Doorbells are heard by the worker, on both of its queues."""
        worker = self.fleet["a"]

        def heard(queue: str) -> float:
            return worker.metric(f'corral_doorbells_heard_total{{queue="{queue}"}}')

        start, own = heard("start"), heard("own")
        session = self.client.start("say first")["id"]

        def rings() -> bool:
            self.is_done(self.prompt(session, "say ring"), within_s=5)
            self.client.turn(self.client.start("say ring")["turn"]["id"])
            return heard("start") > start and heard("own") > own

        eventually(rings, timeout_s=within_s, about="doorbells heard")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("redis")
    with brokered(folder, sqlite_template) as (fleet, broker), receiving() as receiver:
        broker.start()
        client = fleet.up("a", delivery=True)
        yield Scene(fleet, broker, client, receiver)


def flush(scene: Scene) -> Callable[[], None]:
    scene.broker.flush()
    return lambda: None


def pause(scene: Scene) -> Callable[[], None]:
    scene.broker.signal(signal.SIGSTOP)
    paused_at = time.monotonic()

    def go_on() -> None:
        eventually(lambda: time.monotonic() > paused_at + 5.0, about="five seconds")
        scene.broker.signal(signal.SIGCONT)

    return go_on


def lose(scene: Scene) -> Callable[[], None]:
    scene.broker.kill()
    return scene.broker.start


@pytest.mark.parametrize("fault", [flush, pause, lose])
def test_prompts_run_and_nobody_misses_anything(scene: Scene, fault: Callable[[Scene], Callable[[], None]]) -> None:
    session = scene.session()
    with listening(scene.client, session) as listener:
        running_turn = scene.prompt(session, "rate 20 2")

        mend = fault(scene)
        queued = scene.prompt(session, "say queued")
        fresh = scene.client.start("say fresh")["turn"]["id"]
        is_away = fault is not flush
        assert bool(scene.warnings()) == is_away
        scene.is_done(running_turn, within_s=8)
        scene.is_done(queued, within_s=5)
        scene.is_done(fresh, within_s=5)
        mend()
        last = scene.prompt(session, "say last")
        scene.is_done(last, within_s=5)

        scene.nothing_is_missed(session, listener)
    scene.bells_ring_again(within_s=30)
    assert not scene.warnings()
    assert all(process.lives for process in scene.fleet.processes)


def test_a_fleet_that_starts_without_redis_works_and_takes_it_up_later(tmp_path: Path, sqlite_template: Path) -> None:
    with brokered(tmp_path, sqlite_template) as (fleet, broker), receiving() as receiver:
        scene = Scene(fleet, broker, fleet.up("a", delivery=True), receiver)

        assert scene.warnings()
        session = scene.session()
        with listening(scene.client, session) as listener:
            scene.is_done(scene.prompt(session, "stream 5 10"), within_s=5)
            scene.nothing_is_missed(session, listener)

            broker.start()
            scene.bells_ring_again(within_s=40)
            scene.is_done(scene.prompt(session, "say last"), within_s=5)
            scene.nothing_is_missed(session, listener)
        assert not scene.warnings()
        assert all(process.lives for process in fleet.processes)
