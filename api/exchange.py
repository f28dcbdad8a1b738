"""One HTTP exchange as ASGI sees it: bodies read within a bound, problems sent, answers held back or completed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from api.problems import MEDIA_TYPE, Problem, from_status
from api.wire import REQUEST_ID, REQUEST_ID_HEADER, SECURITY_HEADERS, WAIT_HEADER

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_WAIT = WAIT_HEADER.lower().encode()


class Disconnected(Exception):
    """The caller went away before its request was whole."""


class BodyTooLarge(Exception):
    """The request's body is larger than this API takes."""


@dataclass(slots=True)
class Held:
    """An answer that was collected instead of sent."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def collect(self, message: Message) -> None:
        """Take one ASGI message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name, value) for name, value in message["headers"] if name != _WAIT]
        else:
            self.body += message.get("body", b"")

    def overlay(self, latest: Held) -> None:
        """Tell what `latest` knows better: the fields both have, and the version; all of it where nothing was told."""
        known, told = json.loads(self.body), json.loads(latest.body)
        shown = {name: told.get(name, value) for name, value in known.items()} if known else told
        self.body = json.dumps(shown).encode()
        tags = [pair for pair in latest.headers if pair[0] == b"etag"]
        if tags:
            self.headers = [pair for pair in self.headers if pair[0] != b"etag"] + tags

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [(name, value) for name, value in self.headers if name != b"content-length"]
        headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def headers_of(scope: Scope) -> Mapping[str, str]:
    """The request's headers by lower-case name; of several with one name the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(scope: Scope, receive: Receive, limit: int, timeout_s: float) -> bytes:
    """The whole body.

    Raises:
        TimeoutError: it did not come within `timeout_s`; a caller that trickles must not be waited for.
        BodyTooLarge: announced or real, it has more than `limit` bytes; the rest is left unread.
        Disconnected: the caller went away.
    """
    announced = headers_of(scope).get("content-length", "0")
    if not announced.isdigit() or int(announced) > limit:
        raise BodyTooLarge
    async with asyncio.timeout(timeout_s):
        return await _collect(receive, limit)


async def _collect(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return bytes(body)


def with_body(scope: Scope, body: bytes) -> Scope:
    """`scope` for an application that gets `body` whole: its length is told, also where it came in chunks."""
    drop = {b"content-length", b"transfer-encoding"}
    headers = [(name, value) for name, value in scope["headers"] if name not in drop]
    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` in one piece, then what the connection has to say."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def completed(scope: Scope, send: Send) -> Send:
    """A `send` that gives every answer its request id and security headers, and keeps the waiting marker back."""

    async def complete(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name: value for name, value in message["headers"]}  # noqa: C416 - the last of a name counts
            given.pop(_WAIT, None)
            for name, value in {REQUEST_ID_HEADER: scope[REQUEST_ID], **SECURITY_HEADERS}.items():
                given.setdefault(name.lower().encode(), value.encode())
            message = {**message, "headers": list(given.items())}
        await send(message)

    return complete


async def disconnected(receive: Receive) -> None:
    """Returns when the caller has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_problem(scope: Scope, send: Send, problem: Problem) -> None:
    """Answer with a problem."""
    body = problem.body(scope[REQUEST_ID])
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def too_slow(timeout_s: float) -> Problem:
    """What a body that does not come is answered."""
    return from_status(408, f"The body did not come within {timeout_s:g} s.", {"Connection": "close"})


def too_large(limit: int) -> Problem:
    """What a body above `limit` is answered."""
    return from_status(413, f"The body is larger than {limit} bytes.", {"Connection": "close"})
