"""More sessions than fit: never more run than may, the others wait their turn, and each is told what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from shared.store import workers
from tests.fixtures.fleet import CALM, Client, Fleet
from tests.fixtures.waiting import eventually
from tests.fixtures.witness import kinds, whole_log
from workers.host import tree

CAPACITY = 3
MORE = 15


@dataclass
class Crowd:
    """The most there ever was: sessions counted on one worker, and sessions with a living process on all."""

    fleet: Fleet
    used: int = 0
    running: int = 0
    looks: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self._stop.wait(0.03):
            with self.fleet.database.read() as connection:
                rows = workers.live(connection, "worker")
                ours = {row.session_id for row in connection.execute(sa.text("SELECT session_id FROM heads"))}
            marked = {tree.marks(pid) for pid in tree.pids()} & ours
            self.used = max(self.used, *(row.used for row in rows))
            self.running = max(self.running, len(marked))
            self.looks += 1

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def watching(fleet: Fleet) -> Iterator[Crowd]:
    crowd = Crowd(fleet)
    thread = threading.Thread(target=crowd.watch, daemon=True)
    thread.start()
    try:
        yield crowd
    finally:
        crowd.stop()
        thread.join(5)


def positions(client: Client) -> list[int]:
    """The places in the line that are told of sessions that wait."""
    page = client.get("/sessions", status="starting", limit=100)["data"]
    return sorted(row["queue_position"] for row in page if row["queue_position"] is not None)


@pytest.mark.parametrize("names", [("a",), ("a", "b")], ids=["one", "two"])
def test_never_more_run_than_fit_and_all_are_done_in_the_end(fleet: Fleet, names: tuple[str, ...]) -> None:
    client = fleet.up(*names, CORRAL_WORKER_CAPACITY=str(CAPACITY), **CALM)
    room = CAPACITY * len(names)

    with watching(fleet) as crowd, ThreadPoolExecutor(room + MORE) as callers:
        made = list(callers.map(lambda number: client.start(f"sleep 0.3; say {number}"), range(room + MORE)))
        line = positions(client)
        results = [client.turn(one["turn"]["id"], timeout_s=60)["result_text"] for one in made]

    assert results == [str(number) for number in range(room + MORE)]
    # The line moves while it is read, so these are bounds; the next test has it stand still.
    assert line
    assert 0 <= line[0] <= line[-1] < room + MORE
    assert crowd.looks > 5
    assert crowd.used == CAPACITY
    assert 1 <= crowd.running <= room
    for one in made:
        whole_log(client, one["id"])


def test_a_full_fleet_stops_consuming_tells_no_capacity_and_opens_again(fleet: Fleet) -> None:
    client = fleet.up("a", CORRAL_WORKER_CAPACITY="1", CORRAL_SWEEP_S="1", **CALM)
    worker = fleet["a"]

    def heard() -> float:
        return worker.metric('corral_doorbells_heard_total{queue="start"}')

    busy = client.start("count counter.txt 50")
    client.event(busy["id"], lambda event: event["type"] == "tool_call")
    before = heard()
    hopeless = [client.start("say never", limits={"start_s": 3}) for _ in range(3)]
    waiting = client.start("say at last")
    assert positions(client) == [0, 1, 2, 3]

    for one in hopeless:
        ended = client.session(one["id"], "ended", timeout_s=10)
        assert ended["end_reason"] == "no_capacity"
        turn = client.get(f"/turns/{one['turn']['id']}")
        assert (turn["status"], turn["stop_reason"]) == ("failed", "session_no_capacity")
        assert kinds(whole_log(client, one["id"])) == ["turn_queued", "turn_ended", "session_ended"]
    assert positions(client) == [0]
    # One may have been on its way when the gate was closed; it is put back, not swallowed.
    assert heard() <= before + 1

    client.post(f"/sessions/{busy['id']}/terminate", {})
    assert client.turn(waiting["turn"]["id"], timeout_s=10)["result_text"] == "at last"
    client.post(f"/sessions/{waiting['id']}/terminate", {})
    eventually(lambda: heard() > before + 1, about="the doorbells that waited")
    assert client.turn(client.start("say open")["turn"]["id"], timeout_s=10)["result_text"] == "open"
