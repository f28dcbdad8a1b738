"""Event streams over real sockets: nothing skipped, whatever becomes of hints, Redis and slow readers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from api import stream as stream_module
from api.shell import ShellOptions
from shared.channel.message import unpack
from shared.channel.subscriber import Subscriber
from shared.domain.event import Draft, EventType
from shared.domain.ids import SessionId
from shared.events.tail import Listening
from tests.fixtures.api import Api, api_running, frames
from tests.fixtures.waiting import eventually

DEAD_REDIS = "redis://127.0.0.1:1/0"


@contextlib.contextmanager
def stream(api: Api, session: str, headers: dict[str, str] | None = None, **query: Any) -> Iterator[httpx.Response]:
    wanted = {"Accept": "text/event-stream", **(headers or {})}
    with api.http.stream("GET", f"/v1/sessions/{session}/events", params=query, headers=wanted) as answer:
        yield answer


def events_of(answer: httpx.Response) -> Iterator[Any]:
    return (frame for frame in frames(answer.iter_lines()) if "id" in frame)


def upto(answer: httpx.Response, seq: int) -> list[int]:
    seen: list[int] = []
    for frame in events_of(answer):
        seen.append(int(frame["id"]))
        if seen[-1] >= seq:
            break
    return seen


def test_a_stream_tells_the_past_then_the_present_and_ends_with_the_session(api):
    made = api.create("hi")
    host = api.host(made["id"])
    host.up()
    with stream(api, made["id"]) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        frame = events_of(answer)
        past = [next(frame), next(frame)]
        host.finish(made["turn"]["id"])
        host.end()
        present = list(frame)

    assert [one["event"] for one in past + present] == [
        "turn_queued",
        "session_started",
        "turn_ended",
        "session_ended",
    ]
    assert [int(one["id"]) for one in past + present] == [1, 2, 3, 4]
    assert past[0]["data"] == api.http.get(f"/v1/sessions/{made['id']}/events").json()["data"][0]


def test_a_stream_begins_behind_the_last_event_the_reader_saw(api):
    session = api.create("hi")["id"]
    host = api.host(session)
    host.chunks(20)
    host.end()

    with stream(api, session, {"Last-Event-ID": "15"}, after=3) as answer:
        by_header = [int(one["id"]) for one in events_of(answer)]
    with stream(api, session, types="session_ended") as answer:
        by_type = [one["event"] for one in events_of(answer)]

    assert by_header == list(range(16, 23))
    assert by_type == ["session_ended"]


def test_a_quiet_stream_says_that_it_lives(sqlite_url, valkey_url):
    options = ShellOptions(sse_heartbeat_s=0.05, threads=2)
    with api_running(sqlite_url, valkey_url, options=options) as api:
        session = api.create()["id"]
        with stream(api, session) as answer:
            found = frames(answer.iter_lines())
            first, second = next(found), next(found)

    assert 1000 <= int(first["retry"]) < 3000
    assert second == {"comment": "ping"}


def test_a_stream_ends_untold_when_its_key_is_revoked(sqlite_api, monkeypatch):
    # given
    monkeypatch.setattr(stream_module, "_TRUSTED_S", 0.0)
    api = sqlite_api
    session = api.create("hi")["id"]
    host = api.host(session)
    key = api.http.post("/v1/keys", json={"name": "reader", "scopes": ["read"]}).json()

    with stream(api, session, {"Authorization": f"Bearer {key['key']}"}) as answer:
        found = events_of(answer)
        first = next(found)
        # when
        assert api.http.delete(f"/v1/keys/{key['id']}").status_code == 204
        host.tell(Draft(EventType.MESSAGE, {"text": "a secret", "message_id": "m"}))
        # then
        rest = list(found)

    assert (first["event"], rest) == ("turn_queued", [])


class Dropping:
    """A real subscriber that loses every tenth hint and, while `is_deaf`, all of them."""

    def __init__(self, url: str, handler: Callable[[str, bytes], None], on_reconnect: Callable[[], None]) -> None:
        self._handler = handler
        self._inner = Subscriber(url, self._hear, lambda: None)
        self.add, self.remove, self.run = self._inner.add, self._inner.remove, self._inner.run
        self._heard = 0
        self.dropped: list[int] = []
        self.is_deaf = False

    def _hear(self, channel: str, message: bytes) -> None:
        self._heard += 1
        if self.is_deaf or self._heard % 10 == 0:
            news = unpack(SessionId("ses_x"), message)
            self.dropped.append(news.last if news else 0)
        else:
            self._handler(channel, message)


def test_no_reader_misses_or_waits_for_an_event_whose_hint_was_lost(database_url, valkey_url):
    made: list[Dropping] = []

    def listen(handler: Callable[[str, bytes], None], on_reconnect: Callable[[], None]) -> Listening:
        made.append(Dropping(valkey_url, handler, on_reconnect))
        return made[-1]

    options = ShellOptions(threads=4, poll_s=0.3)
    with api_running(database_url, valkey_url, listen=listen, options=options) as api:
        session = api.create("hi")["id"]
        host = api.host(session)
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(stream(api, session)) for _ in range(3)]
            for number in range(50):
                made[0].is_deaf = number == 49
                host.tell(Draft(EventType.MESSAGE, {"text": str(number), "message_id": "m"}))
            seen = [upto(reader, 51) for reader in readers]

    assert seen == [list(range(1, 52))] * 3
    assert made[0].dropped, "hints were lost, or the test proves nothing"


def test_a_stream_goes_on_while_redis_is_away(database_url):
    with api_running(database_url, DEAD_REDIS, options=ShellOptions(threads=4, poll_s=0.1)) as api:
        session = api.create("hi")["id"]
        host = api.host(session)
        with stream(api, session) as answer:
            found = events_of(answer)
            first = next(found)
            host.chunks(30)
            rest = [next(found) for _ in range(30)]

    assert [int(one["id"]) for one in [first, *rest]] == list(range(1, 32))


def test_a_stalled_reader_loses_nothing_and_costs_little(sqlite_api):
    api = sqlite_api
    session = api.create("hi")["id"]
    host = api.host(session)
    with stream(api, session) as answer:
        found = events_of(answer)
        next(found)
        # Nobody reads now: the socket fills, then the reader's own buffer, then it must go back to the store.
        host.chunks(20_000, size=500)
        seen = [int(next(found)["id"]) for _ in range(20_000)]

    assert seen == list(range(2, 20_002))


def test_a_reader_that_takes_nothing_is_cut_off(sqlite_url, valkey_url):
    options = ShellOptions(threads=4, stall_s=0.3)
    with api_running(sqlite_url, valkey_url, options=options) as api:
        session = api.create("hi")["id"]
        host = api.host(session)
        with contextlib.closing(connected(api, session)) as reader:
            host.chunks(20_000, size=1000)
            eventually(lambda: open_streams(api) == 0, about="the stream's end")
            last = b""
            while piece := reader.recv(1 << 20):
                last = piece
    assert not last.endswith(b"0\r\n\r\n"), "a stream that is cut off has no proper end"


def test_a_process_serves_so_many_streams_and_no_more(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, options=ShellOptions(threads=4, sse_limit=2)) as api:
        session = api.create("hi")["id"]
        with stream(api, session) as one, stream(api, session) as two:
            # Held: an iterator that is dropped closes its connection.
            held = [events_of(one), events_of(two)]
            assert [next(events)["id"] for events in held] == ["1", "1"]
            with stream(api, session) as third:
                third.read()
            assert (third.status_code, third.json()["code"]) == (503, "too_many_streams")
            assert int(third.headers["retry-after"]) >= 1
        eventually(lambda: open_streams(api) == 0, about="room again")
        with stream(api, session) as fourth:
            assert upto(fourth, 1) == [1]


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ({"after": "x"}, {}, 422, "invalid_request"),
        ({"after": "-1"}, {}, 422, "invalid_request"),
        ({"since": "1"}, {}, 422, "invalid_request"),
        ({"types": "nonsense"}, {}, 422, "invalid_request"),
        ({}, {"Last-Event-ID": "abc"}, 422, "invalid_field"),
        ({}, {"Last-Event-ID": "9" * 40}, 422, "invalid_field"),
        ({}, {"Authorization": "Bearer crl_nope"}, 401, "unauthenticated"),
    ],
)
def test_a_stream_that_cannot_be_is_a_problem_and_no_stream(sqlite_api, query, headers, status, code):
    session = sqlite_api.create("hi")["id"]

    with stream(sqlite_api, session, headers, **query) as answer:
        answer.read()

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_streams_end_in_order_when_the_process_stops(sqlite_url, valkey_url):
    ended: list[object] = []
    with api_running(sqlite_url, valkey_url) as api:
        session = api.create("hi")["id"]
        is_open = threading.Event()

        def read() -> None:
            with httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {api.key}"}) as http:
                wanted = {"Accept": "text/event-stream"}
                with http.stream("GET", f"/v1/sessions/{session}/events", headers=wanted, timeout=20) as answer:
                    for frame in events_of(answer):
                        ended.append(frame["id"])
                        is_open.set()
            ended.append("end")

        reader = threading.Thread(target=read)
        reader.start()
        assert is_open.wait(10)
    reader.join(10)

    assert ended == ["1", "end"]


def connected(api: Api, session: str) -> socket.socket:
    """A reader with a small window that has sent its request and reads nothing."""
    host, port = api.url.removeprefix("http://").split(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(20)
    reader.connect((host, int(port)))
    lines = [
        f"GET /v1/sessions/{session}/events HTTP/1.1",
        f"Host: {host}",
        "Accept: text/event-stream",
        f"Authorization: Bearer {api.key}",
    ]
    reader.sendall("\r\n".join([*lines, "", ""]).encode())
    eventually(lambda: open_streams(api) == 1, about="the stream")
    return reader


def open_streams(api: Api) -> float:
    line = next(line for line in api.http.get("/metrics").text.splitlines() if line.startswith("corral_streams_open "))
    return float(line.split()[1])
