"""`corral up` and its likes in the background: one to a home, none left behind, everything still there afterwards."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.fleet import FAST, Client, free_port
from tests.fixtures.terminal import CORRAL, bare_env, corral, upped
from tests.fixtures.waiting import eventually
from workers.host.tree import look, pids


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where commands run, with the home beneath it; what runs there at the end is ended."""
    yield tmp_path
    corral("shutdown", "--home", "home", cwd=tmp_path, timeout_s=100)


def client_of(home: Path) -> Client:
    return Client((home / "url").read_text().strip(), (home / "api_key").read_text().strip())


def descendants(root: int) -> set[int]:
    parents = {pid: seen.parent for pid in pids() if (seen := look(pid))}
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def alive(some: set[int]) -> set[int]:
    return {pid for pid in some if (seen := look(pid)) and seen.state not in "ZX"}


def test_start_status_restart_and_shutdown_go_round(place):
    home, port = place / "home", free_port()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return corral(*arguments, "--home", "home", cwd=place, timeout_s=150, **FAST)

    assert (run("status").returncode, home.exists()) == (3, False)
    started = run("start", "--port", str(port))
    assert started.returncode == 0, started.stderr
    assert f"http://127.0.0.1:{port}" in started.stdout
    assert client_of(home).key not in started.stdout
    assert run("start").stderr.startswith("Error: Corral already runs on")
    made = client_of(home).start("say remember the marigold")
    client_of(home).turn(made["turn"]["id"])
    first = run("status").stdout

    restarted = run("restart")
    assert f"http://127.0.0.1:{port}" in restarted.stdout, restarted.stderr

    assert run("status").stdout != first
    turn = client_of(home).post(f"/sessions/{made['id']}/prompts", {"text": "recall"})["id"]
    assert "marigold" in client_of(home).turn(turn)["result_text"]
    assert (home / "corral.log").stat().st_mode & 0o777 == 0o600
    assert (home / "corral.log").read_text().count(client_of(home).key) == 0
    pid = int(re.findall(r"process (\d+)", run("status").stdout)[0])
    everything = descendants(pid) | {pid}
    assert run("shutdown").stdout == "stopped\n"
    eventually(lambda: not alive(everything), about="no process left")
    assert run("shutdown").stdout == "was not running\n"
    assert run("status").returncode == 3


def test_a_start_that_fails_shows_why(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ran = corral("start", "--home", "home", "--port", str(port), cwd=place)

    assert ran.returncode == 1
    assert "did not come up" in ran.stderr
    assert f"Port {port} on 127.0.0.1 cannot be used (Address already in use)" in ran.stderr
    assert corral("status", "--home", "home", cwd=place).returncode == 3


def test_kill_9_of_corral_up_leaves_no_process_and_the_next_one_goes_on(tmp_path):
    with upped(tmp_path) as first:
        counter = first.client.start("ignore-term; orphan ghost.txt; count counter.txt 50")
        turn = counter["turn"]["id"]
        eventually(lambda: any(first.home.glob("workspaces/**/counter.txt")), about="the agent counts")
        everything = descendants(first.popen.pid)

        first.popen.kill()
        first.popen.wait(10)

        eventually(lambda: not alive(everything), timeout_s=5, about="no process left")
    with upped(tmp_path) as second:
        assert second.client.turn(turn)["status"] == "interrupted"
        again = second.client.post(f"/sessions/{counter['id']}/prompts", {"text": "say still here"})["id"]
        assert second.client.turn(again)["result_text"] == "still here"


def test_of_two_at_once_on_one_home_one_is_refused(place):
    argv = [*CORRAL, "up", "--home", "home", "--port"]
    both = [
        subprocess.Popen(
            [*argv, str(free_port())], cwd=place, env=bare_env(place, **FAST), stdout=subprocess.DEVNULL, stderr=2
        )
        for _ in range(2)
    ]
    try:
        eventually(lambda: any(one.poll() is not None for one in both), timeout_s=60, about="one is refused")
        eventually((place / "home/url").exists, timeout_s=60, about="the other is up")

        assert sorted(one.poll() for one in both if one.poll() is not None) == [1]
    finally:
        for one in both:
            one.terminate()
            one.wait(60)


def test_a_home_left_by_a_crash_can_be_used(place):
    home = place / "home"
    home.mkdir()
    (home / "corral.pid").write_text(f"{os.getpid()}\n")
    (home / "url").write_text("http://127.0.0.1:1\n")

    assert corral("status", "--home", "home", cwd=place).returncode == 3
    assert corral("shutdown", "--home", "home", cwd=place).stdout == "was not running\n"
    assert corral("start", "--home", "home", "--port", str(free_port()), cwd=place, timeout_s=100).returncode == 0


def test_ctrl_c_stops_it_and_a_second_one_at_once(tmp_path):
    with upped(tmp_path, CORRAL_DRAIN_S="60") as up:
        made = up.client.start("say begun; sleep 50")
        up.client.event(made["id"], lambda event: event["type"] == "message")
        everything = descendants(up.popen.pid)

        up.popen.send_signal(signal.SIGINT)
        eventually(lambda: "stopping; once more" in up.log.read_text(errors="replace"), about="it is stopping")
        up.popen.send_signal(signal.SIGINT)

        assert up.popen.wait(10) == 0
        eventually(lambda: not alive(everything), timeout_s=5, about="no process left")


def test_a_part_that_dies_is_started_again(tmp_path):
    with upped(tmp_path) as up:
        (port,) = re.findall(r":(\d+)$", up.client.url)
        api = next(pid for pid in descendants(up.popen.pid) if b"cli.main\0api" in _cmdline(pid))

        os.kill(api, signal.SIGKILL)

        eventually(lambda: "api is back" in up.log.read_text(errors="replace"), timeout_s=40, about=f"api on {port}")
        assert up.client.get("/me")
        assert "api was ended by signal 9; it is started again in 0.5 s" in up.log.read_text(errors="replace")


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_reader_of_events_lives_through_a_restart_of_the_api(tmp_path):
    with upped(tmp_path) as up:
        run = subprocess.Popen(
            [*CORRAL, "run", "--home", str(up.home), "say begun; sleep 4; say done"],
            cwd=up.folder,
            env=bare_env(up.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        killer = threading.Timer(30, run.kill)
        killer.start()
        assert run.stdout
        assert run.stdout.readline() == "begun\n"
        api = next(pid for pid in descendants(up.popen.pid) if b"cli.main\0api" in _cmdline(pid))

        os.kill(api, signal.SIGKILL)

        told = run.stdout.read()
        killer.cancel()
        assert told.endswith("done\n")
        assert told.count("done") == 1
        assert run.wait(10) == 0


def test_a_database_that_is_away_is_one_clear_line(place):
    ran = corral(
        "up",
        "--home",
        "home",
        "--port",
        str(free_port()),
        cwd=place,
        CORRAL_DATABASE_URL="postgresql://u:hush@127.0.0.1:1/x",
    )

    assert ran.returncode == 1
    assert ran.stderr == "Error: The database cannot be reached. Nothing was changed; repeat the request in a moment.\n"


def test_with_redis_away_it_comes_up_and_says_so(tmp_path):
    with upped(tmp_path, CORRAL_REDIS_URL="redis://127.0.0.1:1/0") as up:
        made = up.client.start("say without redis")

        assert up.client.turn(made["turn"]["id"])["result_text"] == "without redis"


def test_another_database_gets_a_key_of_its_own(place):
    def start(name: str) -> str:
        url = f"sqlite:///{place / name}"
        ran = corral(
            "restart", "--home", "home", "--port", port, cwd=place, timeout_s=150, CORRAL_DATABASE_URL=url, **FAST
        )
        assert ran.returncode == 0, ran.stderr
        client = client_of(place / "home")
        assert client.get("/me")
        return client.key

    port = str(free_port())
    assert start("one.db") != start("other.db")
