"""Small things of the wire: request ids, waiting markers, bodies within a bound, versions, idempotency keys."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from api.exchange import BodyTooLarge, Disconnected, Held, Message, Scope, read_body, with_body
from api.resources.sessions import if_match
from api.waiting import wait_s_of
from api.wire import Waiting, read_waiting, request_id
from shared.domain.errors import InvalidField


def test_a_waiting_marker_survives_its_header():
    waiting = Waiting("ses_1", "running", "/v1/sessions/ses_1?turn=trn_1")

    assert read_waiting(waiting.header()) == waiting


@pytest.mark.parametrize("wished", ["", "short", "new\nline-injected", "ünïcödé-id", "x" * 65])
def test_a_request_id_that_could_do_harm_is_replaced(wished):
    made = request_id(wished)

    assert made.startswith("req_")
    assert made != request_id(wished)


@pytest.mark.parametrize(("text", "version"), [('"3"', 3), ("3", 3), ('W/"3"', 3), ("*", None), (" 12 ", 12)])
def test_if_match_names_a_version(text, version):
    assert if_match({"if-match": text}) == version


def test_if_match_that_is_no_version_is_refused():
    with pytest.raises(InvalidField, match="If-Match"):
        if_match({"if-match": "three"})


@pytest.mark.parametrize(
    ("query", "wait_s"), [(b"wait_s=5", 5.0), (b"wait_s=9999", 120.0), (b"", 0.0), (b"wait_s=soon", 0.0)]
)
def test_the_shell_waits_no_longer_than_it_may(query, wait_s):
    assert wait_s_of({"query_string": query}) == wait_s


def test_an_answer_is_told_anew_without_losing_what_is_told_once():
    held = Held(201, [(b"etag", b'"1"')], b'{"status": "starting", "secret": "s"}')

    held.overlay(Held(200, [(b"etag", b'"2"')], b'{"status": "idle", "more": 1}'))

    assert held.body == b'{"status": "idle", "secret": "s"}'
    assert held.headers == [(b"etag", b'"2"')]


def read(pieces: Iterable[bytes], limit: int, *, announced: str | None = None, leaves: bool = False) -> bytes:
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    last: Message = {"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b"", "more_body": False}
    messages.append(last)
    scope: Scope = {"headers": [] if announced is None else [(b"content-length", announced.encode())]}

    async def receive() -> Message:
        return messages.pop(0)

    return asyncio.run(read_body(scope, receive, limit, 5.0))


def test_a_body_is_read_whole_within_its_bound():
    assert read([b"ab", b"cd"], 4) == b"abcd"


@pytest.mark.parametrize("announced", ["5", "-1", "five", "99999999999999999999"])
def test_a_body_that_announces_too_much_is_not_read(announced):
    with pytest.raises(BodyTooLarge):
        read([], 4, announced=announced)


def test_a_body_that_is_larger_than_announced_is_stopped():
    with pytest.raises(BodyTooLarge):
        read([b"abc", b"de"], 4, announced="3")


def test_a_caller_that_leaves_in_the_middle_is_no_request():
    with pytest.raises(Disconnected):
        read([b"a"], 4, leaves=True)


def test_a_body_in_chunks_gets_a_length_for_flask():
    scope = with_body({"headers": [(b"transfer-encoding", b"chunked"), (b"accept", b"*/*")]}, b"abc")

    assert scope["headers"] == [(b"accept", b"*/*"), (b"content-length", b"3")]
