"""`corral up` as a person runs it: prompt in, events over SSE, signed webhook out, files there, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from tests.fixtures.fleet import Client, free_port
from tests.fixtures.waiting import eventually

START_S = 60.0


@dataclass
class Receiver:
    """A webhook receiver that keeps what it got."""

    url: str
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: what matters is kept."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


@dataclass
class Up:
    """A running `corral up`."""

    popen: subprocess.Popen[bytes]
    home: Path
    client: Client
    log: Path

    def processes(self) -> set[int]:
        """Every process that descends from it."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        found = {self.popen.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found


def start(tmp_path: Path, *more: str) -> Up:
    home, port, log = tmp_path / "home", free_port(), tmp_path / "up.log"
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", "up", "--home", str(home), "--port", str(port), *more],
            # Nothing of the person's environment is needed: no key, no Redis, no database.
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "nobody")},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def is_up() -> bool:
        assert popen.poll() is None, log.read_text()
        return (home / "url").exists()

    eventually(is_up, timeout_s=START_S, about="corral up")
    key = (home / "api_key").read_text().strip()
    return Up(popen, home, Client((home / "url").read_text().strip(), key), log)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = start(tmp_path)
    try:
        yield running
    finally:
        sys.stdout.write(running.log.read_text(errors="replace")[-6000:])
        running.popen.terminate()
        running.popen.wait(60)


def stream(client: Client, session: str, *, last_event_id: int | None = None) -> Iterator[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {client.key}", "Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    url = f"{client.url}/v1/sessions/{session}/events"
    with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
        assert answer.status_code == 200, answer.text
        for line in answer.iter_lines(chunk_size=1):
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def until(events: Iterator[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    seen = []
    for event in events:
        seen.append(event)
        if event["type"] == kind:
            return seen
    raise AssertionError(f"the stream ended without {kind}: {[event['type'] for event in seen]}")


def test_a_prompt_goes_in_and_a_signed_webhook_comes_out(up: Up, receiver: Receiver) -> None:
    client = up.client
    assert up.home.joinpath("api_key").stat().st_mode & 0o777 == 0o600
    secret = client.post("/webhooks", {"url": receiver.url})["secret"]

    made = client.start("say working; write notes/hello.txt fences; say done")
    seen = until(stream(client, made["id"]), "turn_ended")

    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["data"]["status"] == "completed"
    kinds = [event["type"] for event in seen]
    assert kinds[0] == "turn_queued"
    assert {"session_started", "turn_started", "message", "tool_call", "tool_result"} <= set(kinds)
    # A reader that comes back names the last seq it has.
    assert until(stream(client, made["id"], last_event_id=3), "turn_ended") == seen[3:]

    listing = client.get(f"/sessions/{made['id']}/files", depth=2)
    assert "notes/hello.txt" in json.dumps(listing)
    text = client.ask("GET", f"/sessions/{made['id']}/files/notes/hello.txt").text
    assert "fences" in text

    def delivered() -> list[dict[str, Any]]:
        bodies = [json.loads(body) for _, body in receiver.got]
        return [event for body in bodies if body["session_id"] == made["id"] for event in body["events"]]

    eventually(lambda: len(delivered()) >= len(seen), timeout_s=15, about="all delivered")
    assert delivered()[: len(seen)] == seen
    verifier = Webhook(secret)
    for headers, body in receiver.got:
        verifier.verify(body, headers)


def test_terminate_leaves_no_process_of_the_agent(up: Up) -> None:
    client = up.client
    before = up.processes()
    made = client.start("ignore-term; orphan ghost.txt; count counter.txt 50")
    eventually(lambda: len(up.processes() - before) >= 2, timeout_s=20, about="the agent and its orphan run")

    client.post(f"/sessions/{made['id']}/terminate")
    ended = client.session(made["id"], "ended")

    assert ended["end_reason"] == "terminated"
    assert client.turn(made["turn"]["id"])["status"] == "cancelled"
    eventually(lambda: not (up.processes() - before), timeout_s=5, about="no process left")


def test_it_stops_whole_and_goes_on_where_it_was(tmp_path: Path) -> None:
    first = start(tmp_path)
    made = first.client.start("say remember the marigold")
    first.client.turn(made["turn"]["id"])
    everything = first.processes()
    first.popen.send_signal(signal.SIGTERM)
    assert first.popen.wait(60) == 0
    eventually(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in everything), timeout_s=5, about="no process left"
    )

    second = start(tmp_path)
    try:
        assert second.client.key == first.client.key
        turn = second.client.post(f"/sessions/{made['id']}/prompts", {"text": "recall"})["id"]
        assert "marigold" in second.client.turn(turn)["result_text"]
    finally:
        second.popen.terminate()
        second.popen.wait(60)


def test_a_second_up_on_the_same_home_is_refused(up: Up) -> None:
    again = subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", "up", "--home", str(up.home), "--port", str(free_port())],
        env={"PATH": os.environ["PATH"], "HOME": str(up.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert again.returncode == 1
    assert "already runs" in again.stderr
