"""A worker is told to stop, while others work, more than once, and while Redis or the database is away."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.fixtures.broker import Broker
from tests.fixtures.fleet import CALM, Client, Fleet, Process, running
from tests.fixtures.outages import written_by_another
from tests.fixtures.waiting import eventually
from tests.fixtures.witness import STUBBORN, counter, counts, stands_still, whole_log

GRACE_S = 12.0
"""2 s for running turns, 2 s for an interrupt, 2 x 0.5 s for the ladder, 5 s for a silent Redis; and a slow machine."""


def left_in(worker: Process, timeout_s: float) -> int:
    """The status of a worker that must end by itself in time."""
    return worker.popen.wait(timeout_s)


@dataclass
class Caller:
    """Prompts session after session, and keeps what was accepted."""

    client: Client
    sessions: list[str]
    accepted: list[tuple[str, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self._stop.wait(0.1):
            number += 1
            session = self.sessions[number % len(self.sessions)]
            with suppress(requests.RequestException):
                turn = self.client.post(f"/sessions/{session}/prompts", {"text": f"say {number}"})["id"]
                self.accepted.append((turn, str(number)))

    def goes_on(self) -> None:
        """Wait until some more prompts were accepted."""
        enough = len(self.accepted) + 6
        eventually(lambda: len(self.accepted) >= enough, timeout_s=20, about="more prompts accepted")

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def calling(client: Client, sessions: list[str]) -> Iterator[Caller]:
    caller = Caller(Client(client.url, client.key), sessions)
    thread = threading.Thread(target=caller.run, daemon=True)
    thread.start()
    try:
        yield caller
    finally:
        caller.stop()
        thread.join(30)


def test_a_rolling_restart_loses_no_accepted_prompt(fleet: Fleet) -> None:
    client = fleet.up("a", "b", **CALM)
    sessions = [client.start("say begin")["id"] for _ in range(6)]

    with calling(client, sessions) as caller:
        for name in ("a", "b"):
            caller.goes_on()
            assert fleet[name].end(GRACE_S) == 0
            fleet.worker(name, **CALM)
        caller.goes_on()

    for turn, said in caller.accepted:
        ended = client.turn(turn, timeout_s=30)
        assert (ended["status"], ended["result_text"]) == ("completed", said)
    for session in sessions:
        whole_log(client, session)


def test_a_second_and_third_sigterm_neither_hurry_nor_break_the_drain(fleet_on_sqlite: Fleet) -> None:
    fleet = fleet_on_sqlite
    client = fleet.up("a")
    worker = fleet["a"]
    made = client.start("sleep 1; say let me finish")
    client.event(made["id"], lambda event: event["type"] == "turn_started")

    for _ in range(3):
        worker.signal(signal.SIGTERM)

    assert left_in(worker, GRACE_S) == 0
    assert client.get(f"/turns/{made['turn']['id']}")["result_text"] == "let me finish"
    assert client.get(f"/sessions/{made['id']}")["status"] == "parked"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["paused", "gone"])
def test_a_worker_without_redis_still_drains_in_time(tmp_path: Path, sqlite_url: str, number: int) -> None:
    broker = Broker(tmp_path)
    broker.start()
    try:
        with running(tmp_path, sqlite_url, broker.url) as fleet:
            client = fleet.up("a")
            worker = fleet["a"]
            short = client.start("sleep 1; say done")
            endless = client.start(STUBBORN)
            counts(fleet, endless["id"])
            broker.signal(number)
            began = time.monotonic()

            assert worker.end(GRACE_S + 10) == 0

            assert time.monotonic() - began < GRACE_S
            assert client.turn(short["turn"]["id"])["result_text"] == "done"
            assert client.turn(endless["turn"]["id"])["status"] == "interrupted"
            assert stands_still(lambda: counter(fleet, endless["id"]))
            for made in (short, endless):
                whole_log(client, made["id"])
            broker.signal(signal.SIGCONT)
    finally:
        broker.close()


def test_a_worker_that_cannot_tell_its_end_leaves_its_sessions_to_the_next(fleet_on_sqlite: Fleet) -> None:
    fleet = fleet_on_sqlite
    client = fleet.up("a")
    worker = fleet["a"]
    made = client.start(STUBBORN)
    counts(fleet, made["id"])

    with written_by_another(fleet.env["CORRAL_DATABASE_URL"]):
        worker.signal(signal.SIGTERM)
        # Ten seconds more: it does not give up what it has to tell at once.
        left_in(worker, GRACE_S + 20)
        assert stands_still(lambda: counter(fleet, made["id"]))
    fleet.worker("a")

    assert client.turn(made["turn"]["id"], timeout_s=10)["status"] == "interrupted"
    whole_log(client, made["id"])
    again = client.post(f"/sessions/{made['id']}/prompts", {"text": "say on"})["id"]
    assert client.turn(again)["result_text"] == "on"
