"""Several delivery processes beside each other, lost ones, and a store or Redis that goes away: nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import threading
import urllib.error
import urllib.request

import psycopg
import redis

from shared.domain.ids import mint_incarnation
from shared.domain.webhook import LaneKey
from shared.store import lanes, workers
from tests.fakes.webhook_receiver import hang, status
from tests.fixtures.delivering import QUICK, config_of, delivering, house
from tests.fixtures.delivery_process import spawned
from tests.fixtures.valkey import valkey_running
from tests.fixtures.waiting import eventually
from workers.delivery.app import Times
from workers.delivery.schedule import Ladder


def owners(home):
    with home.database.read() as connection:
        return lanes.owners(connection)


def told(receiver, path, session):
    """Seqs a session's lane was told of, in order, repeats and all."""
    return [seq for post in receiver.at(path) if post.content["session_id"] == session for seq in post.seqs]


def wait_for_all(receiver, path, sessions, count, *, timeout_s=20.0):
    wanted = list(range(1, count + 1))
    eventually(
        lambda: all(sorted(set(told(receiver, path, session))) == wanted for session in sessions),
        timeout_s=timeout_s,
        about=f"{count} events of {len(sessions)} sessions",
    )


def first_times(seqs):
    return list(dict.fromkeys(seqs))


def test_two_replicas_share_the_lanes_and_send_nothing_twice(home, receiver):
    home.endpoint(receiver.url("/a"))
    sessions = [home.session() for _ in range(12)]
    with delivering(config_of(home.url)) as one, delivering(config_of(home.url)) as two:
        eventually(lambda: one.me and two.me)
        for round_ in range(1, 11):
            for session in sessions:
                home.log(session, 7)
            wait_for_all(receiver, "/a", sessions, 7 * round_)

    assert all(told(receiver, "/a", session) == list(range(1, 71)) for session in sessions)
    assert len({post.id for post in receiver.posts}) == len(receiver.posts)


def test_a_second_replica_takes_over_what_an_ended_one_held(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", status(500))
    session = home.session()
    with delivering(config_of(home.url, ladder=Ladder((1.0, 1.0, 1.0)))):
        home.log(session, 3)
        receiver.wait_for("/a", 1)
        eventually(lambda: home.deliveries(endpoint.id)[0].attempts == 1)
    receiver.react("/a", status(200))
    with delivering(config_of(home.url)):
        receiver.wait_for("/a", 2)
        eventually(lambda: home.deliveries(endpoint.id)[0].status == "delivered")

    first, second = receiver.at("/a")
    assert (first.id, first.body) == (second.id, second.body)
    assert second.at - first.at >= 0.8, "the successor keeps to the retry's time"
    assert len(home.deliveries(endpoint.id)) == 1


def test_after_kill_9_the_other_goes_on_within_the_lapse_and_nothing_is_lost(home, receiver, tmp_path):
    home.endpoint(receiver.url("/a"))
    receiver.react("/a", hang(0.01))
    sessions = [home.session() for _ in range(8)]
    with spawned(home.url, tmp_path / "one") as one:
        for session in sessions:
            home.log(session, 5)
        wait_for_all(receiver, "/a", sessions, 5)
        [victim] = owners(home)
        with spawned(home.url, tmp_path / "two"):
            for session in sessions:
                home.log(session, 300)
            receiver.wait_for("/a", 12)
            os.kill(one.pid, signal.SIGKILL)
            # The wait has a deadline; how soon the other goes on is for the bench to measure.
            wait_for_all(receiver, "/a", sessions, 305)
            eventually(lambda: victim not in owners(home))
    for session in sessions:
        seqs = told(receiver, "/a", session)
        assert first_times(seqs) == list(range(1, 306)), "in order, none lost"
        assert len(seqs) - 305 <= 100, "at most one delivery twice"
    by_id = {}
    for post in receiver.at("/a"):
        assert by_id.setdefault(post.id, post.body) == post.body, "what came twice came with the same bytes"


def test_a_stopped_process_sends_nothing_once_it_wakes_up_without_its_lanes(home, receiver, tmp_path):
    endpoint = home.endpoint(receiver.url("/a"))
    sessions = [home.session() for _ in range(4)]
    with spawned(home.url, tmp_path / "one") as one:
        for session in sessions:
            home.log(session, 2)
        wait_for_all(receiver, "/a", sessions, 2)
        # Not only received: stopped between the answer and writing it down, it would rightly be sent again.
        eventually(lambda: {delivery.status for delivery in home.deliveries(endpoint.id)} == {"delivered"})
        [first_me] = owners(home)
        os.kill(one.pid, signal.SIGSTOP)
        try:
            with spawned(home.url, tmp_path / "two"):
                for session in sessions:
                    home.log(session, 3)
                wait_for_all(receiver, "/a", sessions, 5)
                os.kill(one.pid, signal.SIGCONT)
                eventually(lambda: "delivery.ending" in one.log.read_text(), about="it noticed that it was displaced")
                for session in sessions:
                    home.log(session, 4)
                wait_for_all(receiver, "/a", sessions, 9)

                def beats():
                    with home.database.read() as connection:
                        return {row.incarnation for row in workers.live(connection, "delivery")}

                eventually(lambda: len(beats()) == 2, about="it lives on under another incarnation")
                assert first_me not in beats()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGCONT)

    assert all(told(receiver, "/a", session) == list(range(1, 10)) for session in sessions)


def test_sigterm_lets_the_request_end_releases_the_lanes_and_exits_0(home, receiver, tmp_path):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", hang(0.5))
    home.log(home.session(), 1)
    with spawned(home.url, tmp_path) as running:
        receiver.wait_for("/a", 1)
        os.kill(running.pid, signal.SIGTERM)
        assert running.process.wait(10) == 0

    assert home.deliveries(endpoint.id)[0].status == "delivered"
    assert not owners(home)
    with home.database.read() as connection:
        assert not workers.live(connection, "delivery")


def test_lanes_of_a_process_that_left_no_trace_are_found(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    session = home.session()
    home.log(session, 2)
    with home.database.write() as connection:
        key = LaneKey(endpoint.id, session)
        lanes.ensure(connection, key, cursor=0, due_at=None)
        assert lanes.claim(connection, key, mint_incarnation())
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/a", [1, 2])


def test_a_process_holds_no_more_lanes_than_it_may_and_serves_all_in_time(home, receiver):
    home.endpoint(receiver.url("/a"))
    sessions = [home.session() for _ in range(9)]
    for session in sessions:
        home.log(session, 3)
    with delivering(config_of(home.url, lane_limit=4, idle_s=0.05)):
        wait_for_all(receiver, "/a", sessions, 3)

    assert all(told(receiver, "/a", session) == [1, 2, 3] for session in sessions)


# --------------------------------------------------------------------------- Redis


def test_a_hint_is_enough(home, receiver, valkey_url):
    home.endpoint(receiver.url("/a"))
    session = home.session()
    slow = Times(beat_s=0.1, freeze_s=0.6, lapse_s=1.0, sweep_s=60.0)
    with delivering(config_of(home.url, redis_url=valkey_url, times=slow)), redis.Redis.from_url(valkey_url) as client:
        eventually(lambda: client.pubsub_numsub("dlv")[0][1] == 1)
        eventually(lambda: owners_known(home))
        client.publish("dlv", "nonsense ses_:1 ses_x:abc \xff")
        last = home.log(session, 3)[-1]
        client.publish("dlv", f"{session}:{last}")
        receiver.wait_for_seqs("/a", [1, 2, 3], timeout_s=5)
        last = home.log(session, 1)[-1]
        client.publish("dlv", f"ses_0123:9 {session}:{last}")
        receiver.wait_for_seqs("/a", [1, 2, 3, 4], timeout_s=5)


def owners_known(home):
    with home.database.read() as connection:
        return bool(workers.live(connection, "delivery"))


def test_redis_that_dies_and_comes_back_slows_things_and_stops_nothing(sqlite_home, receiver, tmp_path):
    home = sqlite_home
    home.endpoint(receiver.url("/a"))
    session = home.session()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(valkey_running(tmp_path))
        stack.enter_context(delivering(config_of(home.url, redis_url=server.url)))
        home.log(session, 1)
        receiver.wait_for_seqs("/a", [1])
        server.process.kill()
        server.process.wait(5)
        home.log(session, 1)
        receiver.wait_for_seqs("/a", [1, 2])
        with valkey_running(tmp_path, port=server.port), redis.Redis.from_url(server.url) as client:
            eventually(lambda: client.pubsub_numsub("dlv")[0][1] == 1, about="it listens again")
            home.log(session, 1)
            receiver.wait_for_seqs("/a", [1, 2, 3])


# --------------------------------------------------------------------------- the database


def test_while_the_database_is_locked_nothing_is_posted_and_afterwards_nothing_is_missing(sqlite_home, receiver):
    home = sqlite_home
    home.endpoint(receiver.url("/a"))
    session = home.session()
    receiver.react("/a", status(500))
    # A retry needs nothing of the database but to be allowed: the beat is what stops it.
    with delivering(config_of(home.url, ladder=Ladder((1.5, 0.2, 0.2)))):
        home.log(session, 2)
        receiver.wait_for("/a", 1)
        eventually(lambda: home.deliveries(home_endpoint(home))[0].attempts == 1)
        locked = sqlite3.connect(home.database.url.database, isolation_level=None)
        with contextlib.closing(locked):
            locked.execute("BEGIN IMMEDIATE")
            threading.Event().wait(3.0)
            during = len(receiver.at("/a"))
            receiver.react("/a", status(200))
            locked.execute("ROLLBACK")
        receiver.wait_for("/a", 2)
        home.log(session, 2)
        receiver.wait_for_seqs("/a", [1, 2, 3, 4])

    assert during == 1
    assert receiver.seqs("/a") == [1, 2, 1, 2, 3, 4]


def home_endpoint(home):
    with home.database.read() as connection:
        return home.store.watching(connection)[0].id


def test_cut_connections_to_the_database_lose_and_repeat_nothing(postgres_url, receiver):
    with house(postgres_url) as home:
        home.endpoint(receiver.url("/a"))
        sessions = [home.session() for _ in range(4)]
        patient = Times(beat_s=0.1, freeze_s=3.0, lapse_s=4.0, sweep_s=0.05)
        with delivering(config_of(home.url, times=patient)):
            for round_ in range(1, 9):
                for session in sessions:
                    home.log(session, 40)
                with psycopg.connect(postgres_url, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                wait_for_all(receiver, "/a", sessions, 40 * round_)

        assert all(told(receiver, "/a", session) == list(range(1, 321)) for session in sessions)


# --------------------------------------------------------------------------- probe


def fetch(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def test_the_probe_tells_what_is_away(sqlite_home, receiver, tmp_path):
    with valkey_running(tmp_path) as server, delivering(config_of(sqlite_home.url, redis_url=server.url)) as process:
        eventually(lambda: process.port)
        eventually(
            lambda: json.loads(fetch(process.port, "/readyz")[1]) == {"ready": True, "missing": [], "warnings": []}
        )
        assert fetch(process.port, "/healthz")[0] == 200
        assert "corral_delivery_lanes" in fetch(process.port, "/metrics")[1]

        server.process.kill()
        server.process.wait(5)
        eventually(lambda: json.loads(fetch(process.port, "/readyz")[1])["warnings"] == ["redis"])

        locked = sqlite3.connect(sqlite_home.database.url.database, isolation_level=None)
        with contextlib.closing(locked):
            locked.execute("BEGIN IMMEDIATE")
            eventually(lambda: fetch(process.port, "/readyz")[0] == 503)
            locked.execute("ROLLBACK")
        eventually(lambda: fetch(process.port, "/readyz")[0] == 200)


def test_a_process_waits_for_a_database_that_is_not_there_yet(sqlite_home, receiver):
    home = sqlite_home
    home.endpoint(receiver.url("/a"))
    locked = sqlite3.connect(home.database.url.database, isolation_level=None)
    with contextlib.closing(locked):
        locked.execute("BEGIN IMMEDIATE")
        with delivering(config_of(home.url, times=QUICK)) as process:
            eventually(lambda: process.port)
            assert fetch(process.port, "/readyz")[0] == 503
            locked.execute("ROLLBACK")
            home.log(home.session(), 1)
            receiver.wait_for_seqs("/a", [1], timeout_s=15)
