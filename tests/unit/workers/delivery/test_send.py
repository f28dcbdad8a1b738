"""One POST against receivers that are not there, or do not speak HTTP: an answer each time, never an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.addresses import AddressRules
from shared.domain.webhook import AttemptOutcome
from workers.delivery.send import Answer, Sender, open_session

LOOPBACK = AddressRules.read(("127.0.0.0/8",), ("443",))
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def post_to(script: Script, *, scheme: str = "http", timeout_s: float = 1.0) -> Answer:
    """What a POST brings at a server that reads the request and then does as the script says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(65536)
            await script(reader, writer)
        finally:
            writer.close()

    async def scenario() -> Answer:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, open_session(LOOPBACK) as session:
            port = server.sockets[0].getsockname()[1]
            return await Sender(session, timeout_s=timeout_s).post(f"{scheme}://127.0.0.1:{port}/", {}, b"{}")

    return asyncio.run(scenario())


def says(data: bytes) -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return script


def post(url: str) -> Answer:
    async def scenario() -> Answer:
        async with open_session(LOOPBACK) as session:
            return await Sender(session, timeout_s=2.0).post(url, {}, b"{}")

    return asyncio.run(scenario())


def test_an_answer_is_kept_with_its_beginning():
    answer = post_to(says(b"HTTP/1.1 201 Created\r\ncontent-length: 3000\r\n\r\n" + b"y" * 3000))

    assert (answer.outcome, answer.status_code, answer.error) == (AttemptOutcome.DELIVERED, 201, None)
    assert answer.response == "y" * 2048


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 9999 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "garbage", "ssh", "bad status", "long header", "short body", "bad chunk"],
)
def test_what_is_no_http_answer_is_unreachable(data):
    answer = post_to(says(data))

    assert answer.outcome is AttemptOutcome.UNREACHABLE
    assert answer.error
    assert len(answer.error) <= 300


def test_packed_answers_are_not_unpacked():
    answer = post_to(says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x00\x00"))

    assert answer.outcome is AttemptOutcome.DELIVERED


def test_no_tls_where_tls_was_asked_for_is_unreachable():
    assert post_to(says(b"HTTP/1.1 200 OK\r\n\r\n"), scheme="https").outcome is AttemptOutcome.UNREACHABLE


def test_a_name_that_leads_nowhere_is_unreachable():
    answer = post("https://receiver.invalid/hook")

    assert (answer.outcome, answer.error) == (AttemptOutcome.UNREACHABLE, "the host name cannot be resolved")


@pytest.mark.parametrize(
    "url", ["http://", "nonsense", "ftp://127.0.0.1/", "http://[::1/", "http://x" + "y" * 70 + "/"]
)
def test_a_url_that_cannot_be_used_is_an_answer_too(url):
    assert post(url).outcome in {AttemptOutcome.REFUSED, AttemptOutcome.UNREACHABLE}


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_of_a_receiver_raise(data):
    assert post_to(says(data)).duration_s >= 0.0
