"""From the API to a host by doorbell: alone it suffices, and without a single one every prompt still starts in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import redis

from tests.fixtures.fleet import CALM, Client, Fleet

MANY = 6
LATE_S = 5.0


def starts_within(client: Client, session: str) -> list[float]:
    """Seconds from acceptance to start, turn by turn."""
    log = client.events(session)
    at = {(event["type"], event["turn_id"]): datetime.fromisoformat(event["created_at"]) for event in log}
    turns = [turn for kind, turn in at if kind == "turn_queued"]
    return [(at["turn_started", turn] - at["turn_queued", turn]).total_seconds() for turn in turns]


@contextmanager
def deleting(url: str, *queues: str) -> Iterator[None]:
    """Delete these queues a thousand times a second."""
    done = threading.Event()

    def run() -> None:
        with redis.Redis.from_url(url) as client:
            while not done.wait(0.001):
                client.delete(*queues)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(5)


def prompt_many(client: Client) -> list[str]:
    """Sessions with a first and a second prompt, all done."""
    sessions = [client.start(f"say {number}") for number in range(MANY)]
    for made in sessions:
        assert client.turn(made["turn"]["id"])["status"] == "completed"
    for made in sessions:
        turn = client.post(f"/sessions/{made['id']}/prompts", {"text": "say again"})["id"]
        assert client.turn(turn)["status"] == "completed"
    return [made["id"] for made in sessions]


def test_with_the_sweep_off_doorbells_alone_start_prompts_and_end_sessions(fleet: Fleet) -> None:
    client = fleet.up("a", CORRAL_SWEEP_S="3600", **CALM)
    worker = fleet["a"]

    sessions = prompt_many(client)
    for session in sessions:
        client.post(f"/sessions/{session}/terminate", {})

    for session in sessions:
        client.session(session, "ended")
    assert worker.metric('corral_doorbells_heard_total{queue="start"}') >= MANY
    assert worker.metric('corral_doorbells_heard_total{queue="own"}') >= 2 * MANY
    assert worker.metric('corral_sweeps_total{outcome="done"}') == 0


def test_with_the_queues_deleted_all_the_time_every_prompt_starts_in_time(fleet: Fleet) -> None:
    client = fleet.up("a", CORRAL_SWEEP_S="1", **CALM)

    with deleting(fleet.env["CORRAL_REDIS_URL"], "start", "wk.a", "unacked", "unacked_index"):
        sessions = prompt_many(client)

    assert max(took for session in sessions for took in starts_within(client, session)) < LATE_S


def test_without_one_doorbell_every_prompt_starts_and_every_session_ends_in_time(fleet_on_sqlite: Fleet) -> None:
    fleet = fleet_on_sqlite
    # The API and the worker do not even speak to the same Redis.
    fleet.api(CORRAL_REDIS_URL=fleet.env["CORRAL_REDIS_URL"].replace("/0", "/1"))
    fleet.worker("a", CORRAL_SWEEP_S="1", **CALM)
    client = fleet.client()

    sessions = prompt_many(client)
    for session in sessions:
        client.post(f"/sessions/{session}/terminate", {})
    for session in sessions:
        client.session(session, "ended", timeout_s=LATE_S)

    worker = fleet["a"]
    assert worker.metric('corral_doorbells_heard_total{queue="start"}') == 0
    assert worker.metric('corral_doorbells_heard_total{queue="own"}') == 0
    assert max(took for session in sessions for took in starts_within(client, session)) < LATE_S
