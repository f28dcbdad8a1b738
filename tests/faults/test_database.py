"""The database is locked, or refuses everybody: agents wait, nothing is lost, and nobody takes anybody's sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.fixtures.fleet import CALM, Client, Fleet, running
from tests.fixtures.outages import locked, refused, written_by_another
from tests.fixtures.waiting import eventually
from tests.fixtures.witness import counter, counts, kinds, stands_still, whole_log

LAPSE_S = 0.8
AWAY_S = 3.0


@dataclass(frozen=True, slots=True)
class Outage:
    """A database, and a way to take it from everybody for the length of a block."""

    url: str
    take_away: Callable[[str], AbstractContextManager[None]]

    @contextmanager
    def lasting(self, at_least_s: float) -> Iterator[None]:
        with self.take_away(self.url):
            until = time.monotonic() + at_least_s
            yield
            eventually(lambda: time.monotonic() >= until, timeout_s=at_least_s + 1)


@pytest.fixture(params=[written_by_another, locked, refused], ids=lambda way: way.__name__)
def outage(request: pytest.FixtureRequest) -> Outage:
    fixture = "sqlite_url" if request.param is written_by_another else "postgres_url"
    return Outage(request.getfixturevalue(fixture), request.param)


def printed(log: list[dict[str, Any]]) -> list[int]:
    """The numbers of the pieces the agent printed, as they stand in the log."""
    return [int(event["data"]["text"].split()[0]) for event in log if event["type"] == "tool_output_chunk"]


def test_what_agents_print_meanwhile_is_held_back_and_then_stored_whole(
    tmp_path: Path, outage: Outage, valkey_url: str
) -> None:
    with running(tmp_path, outage.url, valkey_url, **CALM) as fleet:
        client = fleet.up("a")
        worker = fleet["a"]
        steady = client.start("rate 50 5")
        loud = client.start("sleep 1; flood 30000 64")
        client.event(steady["id"], lambda event: event["type"] == "tool_output_chunk")
        client.event(loud["id"], lambda event: event["type"] == "turn_started")

        with outage.lasting(AWAY_S):
            holds = eventually(
                lambda: worker.metric("corral_journal_holds_total"), timeout_s=AWAY_S + 20, about="the flood is held"
            )
            waiting = worker.metric("corral_journal_waiting_events")

        assert holds >= 1
        # 4000, and what one read of a pipe may hold beyond.
        assert waiting < 6000
        for made in (steady, loud):
            assert client.turn(made["turn"]["id"], timeout_s=40)["status"] == "completed"
        assert printed(whole_log(client, steady["id"])) == list(range(1, 251))
        assert printed(whole_log(client, loud["id"])) == list(range(1, 30001))
        assert worker.lives
        assert client.turn(client.start("say on")["turn"]["id"])["status"] == "completed"


def rows(client: Client, sessions: list[str]) -> list[tuple[Any, ...]]:
    return [(row["worker"], row["status"]) for row in (client.get(f"/sessions/{session}") for session in sessions)]


def epochs(fleet: Fleet, sessions: list[str]) -> list[int]:
    with fleet.database.read() as connection:
        found = connection.execute(
            sa.text("SELECT session_id, epoch FROM heads WHERE owner IS NOT NULL ORDER BY session_id")
        )
        return [row.epoch for row in found if row.session_id in sessions]


def test_agents_are_frozen_and_go_on_and_the_first_worker_back_takes_nothing(
    tmp_path: Path, outage: Outage, valkey_url: str
) -> None:
    with running(tmp_path, outage.url, valkey_url, CORRAL_WORKER_CAPACITY="1") as fleet:
        client = fleet.up("a", "b")
        sessions = [client.start("count counter.txt 50")["id"] for _ in range(2)]
        for session in sessions:
            counts(fleet, session)
        before, fenced = rows(client, sessions), epochs(fleet, sessions)
        assert {worker for worker, _ in before} == {"a", "b"}

        with outage.lasting(3 * LAPSE_S):
            for session in sessions:
                eventually(lambda session=session: stands_still(lambda: counter(fleet, session)), about="frozen")
            frozen_at = [counter(fleet, session) for session in sessions]

        for session, number in zip(sessions, frozen_at, strict=True):
            eventually(lambda s=session, n=number: counter(fleet, s) > n + 3, timeout_s=20, about=f"{session} thawed")
        assert rows(client, sessions) == before
        assert epochs(fleet, sessions) == fenced
        for session in sessions:
            assert not kinds(whole_log(client, session), "turn_ended", "session_parked")
        assert fleet["a"].lives
        assert fleet["b"].lives
        for session in sessions:
            client.post(f"/sessions/{session}/cancel", {})
            ended = client.event(session, lambda event: event["type"] == "turn_ended")
            assert ended["data"]["status"] == "cancelled"


def test_the_api_says_that_it_is_not_ready_without_its_database_and_recovers(
    tmp_path: Path, postgres_url: str, valkey_url: str
) -> None:
    with running(tmp_path, postgres_url, valkey_url, **CALM) as fleet:
        client = fleet.up("a")
        api = fleet["api"]
        session = client.start()["id"]
        client.session(session, "idle")

        with refused(postgres_url):
            # A 503 is false: requests says so.
            eventually(lambda: (answer := api.ready()) is not None and answer.status_code == 503, about="not ready")
            assert api.ready().json()["missing"]
            began = time.monotonic()
            answer = client.ask("POST", f"/sessions/{session}/prompts", {"text": "say lost"})
            assert time.monotonic() - began < 8
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")

        eventually(lambda: (answer := api.ready()) is not None and answer.ok, about="ready again")
        turn = client.post(f"/sessions/{session}/prompts", {"text": "say back"})["id"]
        assert client.turn(turn)["result_text"] == "back"
        assert "say lost" not in [event["data"].get("text") for event in whole_log(client, session)]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///{folder}/empty.db", "The database is not at this release: run `corral migrate`."),
        ("postgresql://nobody:nothing@127.0.0.1:1/none", "The database cannot be reached."),
    ],
)
def test_a_worker_that_cannot_join_the_fleet_ends_at_once(
    tmp_path: Path, url: str, words: str, valkey_url: str
) -> None:
    with running(tmp_path, url.format(folder=tmp_path), valkey_url) as fleet:
        worker = fleet.launch("a", "worker", 0)

        assert worker.popen.wait(20) == 1

        assert worker.end_of_log().startswith(f"Error: {words}")
        assert worker.end_of_log().count("\n") == 1
