"""A scripted stand-in for the Anthropic Messages API, on loopback: real agents run against it offline.

What it says stands in the prompt (`model_script`). A request that lacks an earlier tool result or an
earlier turn is refused with 400 and kept as a violation, so that a test can assert there was none.
Run it by hand with `python -m tests.fakes.model_server --port 8099`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import secrets
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.fakes.model_memory import Ledger
from tests.fakes.model_script import Json, Reply, Said, answer, flatten

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_PIECE = 8
"""Characters of text in one delta, so that even a short reply streams."""
_SESSION = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_REQUEST_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Record:
    """What the server has seen; read by tests, written by the server's thread alone."""

    violations: list[str] = field(default_factory=list)
    requests: list[Json] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    failed: Counter[str] = field(default_factory=Counter)
    """How often each question was answered with an error."""


RECORD: web.AppKey[Record] = web.AppKey("record", Record)


def make_app(record: Record) -> web.Application:
    """The API as an aiohttp application."""
    app = web.Application(client_max_size=_MAX_REQUEST_BYTES)
    app[RECORD] = record
    app.router.add_post("/v1/messages", _messages)
    app.router.add_post("/v1/messages/count_tokens", _count)
    app.router.add_get("/", _root)
    app.router.add_get("/violations", _violations)
    return app


async def _root(_request: web.Request) -> web.Response:
    return web.Response(text="scripted model\n")


async def _violations(request: web.Request) -> web.Response:
    return web.json_response(request.app[RECORD].violations)


async def _count(request: web.Request) -> web.Response:
    return web.json_response({"input_tokens": len(await request.read()) // 4})


async def _messages(request: web.Request) -> web.StreamResponse:
    record = request.app[RECORD]
    body: Json = await request.json()
    record.requests.append(body)
    messages = body.get("messages")
    items = flatten(messages if isinstance(messages, list) else [])
    session = _session_of(body)
    fault = record.ledger.fault(session, items)
    if fault is not None:
        record.violations.append(fault)
        return _error(400, fault)
    # Claude Code tries again by itself, under a retry count of 0: only the same question tells.
    question = json.dumps([session, len(items), items[-1].text if items else ""])
    reply = answer(items, retry=record.failed[question], serial=len(record.requests))
    if reply.status != 200:
        record.failed[question] += 1
        if reply.status == 400 and reply.remark.startswith("asked to recall"):
            record.violations.append(reply.remark)
        return _error(reply.status, reply.remark)
    message = _message(body, reply)
    if not body.get("stream"):
        _book(record, session, items, message)
        return web.json_response(message)
    return await _stream(request, message, reply, session, items)


async def _stream(
    request: web.Request, message: Json, reply: Reply, session: str, items: Sequence[Said]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    async for event in _events(message, reply):
        await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    _book(request.app[RECORD], session, items, message)
    await response.write_eof()
    return response


async def _events(message: Json, reply: Reply) -> AsyncIterator[Json]:
    blocks = _blocks(message)
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    for index, block in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            # The pause stands between two deltas; an interrupt cancels this handler here.
            await asyncio.sleep(reply.pause_s)
        yield {"type": "content_block_stop", "index": index}
    if reply.hang:
        await asyncio.sleep(3600)
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": 10},
    }
    yield {"type": "message_stop"}


def _empty(block: Json) -> Json:
    if block["type"] == "tool_use":
        return {**block, "input": {}}
    return {**block, str(block["type"]): ""}


def _deltas(block: Json) -> Iterator[Json]:
    match block["type"]:
        case "tool_use":
            text = json.dumps(block["input"])
            yield from ({"type": "input_json_delta", "partial_json": piece} for piece in _cut(text, 24))
        case "thinking":
            text = str(block["thinking"])
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in _cut(text, 12))
            yield {"type": "signature_delta", "signature": "ZmFrZQ=="}
        case _:
            text = str(block["text"])
            size = 10 if text.startswith("slow text") else max(_PIECE, len(text) // 200)
            yield from ({"type": "text_delta", "text": piece} for piece in _cut(text, size))


def _cut(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _message(body: Json, reply: Reply) -> Json:
    blocks = [
        {**block, "id": f"toolu_{secrets.token_hex(10)}"} if block["type"] == "tool_use" else dict(block)
        for block in reply.blocks
    ]
    calls = any(block["type"] == "tool_use" for block in blocks)
    return {
        "id": f"msg_{secrets.token_hex(10)}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": blocks,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 2000,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 2000,
            "output_tokens": 10,
        },
    }


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    return content if isinstance(content, list) else []


def _book(record: Record, session: str, items: Sequence[Said], message: Json) -> None:
    pieces = [str(block.get("id") or block.get("text") or "") for block in _blocks(message)]
    record.ledger.finished(session, items, pieces, calls=message["stop_reason"] == "tool_use")


def _session_of(body: Json) -> str:
    """The agent's session id, which it sends in `metadata.user_id`."""
    match = _SESSION.findall(json.dumps(body.get("metadata") or {}))
    return match[-1] if match else ""


def _error(status: int, remark: str) -> web.Response:
    error = {"type": _ERROR_TYPES.get(status, "api_error"), "message": remark or f"scripted {status}"}
    return web.json_response({"type": "error", "error": error}, status=status)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is up."""

    url: str
    record: Record


@contextmanager
def serve(port: int = 0, *, make: Callable[[Record], web.Application] = make_app) -> Iterator[Running]:
    """Run the server on loopback in a thread of its own; port 0 picks a free one."""
    record = Record()
    ready: list[str] = []
    up = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        runner = web.AppRunner(make(record), handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        ready.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        up.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    if not up.wait(10):
        raise RuntimeError(f"the scripted model did not come up on port {port}")
    try:
        yield Running(ready[0], record)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    with serve(parser.parse_args().port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
