"""A scripted stand-in for the Responses API, on loopback: the real Codex runs against it offline.

As `model_server`, whose record and thread it shares: what it says stands in the prompt, and a request that lacks
an earlier tool result or an earlier turn is refused with 400 and kept as a violation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager

from aiohttp import web

from tests.fakes import model_server
from tests.fakes.model_script import Json, Reply, Said, answer
from tests.fakes.model_server import RECORD, Record, Running
from tests.fakes.responses_script import COMPACTION, flatten, items_of

_PIECE = 8
_SLOW_PIECE = 10
_USAGE: Json = {
    "input_tokens": 2100,
    "input_tokens_details": {"cached_tokens": 2000},
    "output_tokens": 10,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 2110,
}


def serve(port: int = 0) -> AbstractContextManager[Running]:
    """Run the server on loopback in a thread of its own; port 0 picks a free one."""
    return model_server.serve(port, make=make_app)


def make_app(record: Record) -> web.Application:
    """The API as an aiohttp application."""
    app = model_server.make_app(record)
    app.router.add_post("/v1/responses", _responses)
    return app


async def _responses(request: web.Request) -> web.StreamResponse:
    record, body = request.app[RECORD], await request.json()
    record.requests.append(body)
    items, conversation = flatten(body), str(body.get("prompt_cache_key"))
    fault = record.ledger.fault(conversation, items)
    if fault is not None:
        record.violations.append(fault)
        return _error(400, fault)
    question = json.dumps([conversation, len(items), items[-1].text if items else ""])
    reply = _reply(items, retry=record.failed[question], serial=len(record.requests))
    if reply.status != 200:
        record.failed[question] += 1
        if reply.status == 400 and reply.remark.startswith("asked to recall"):
            record.violations.append(reply.remark)
        return _error(reply.status, reply.remark)
    return await _stream(request, reply, conversation, items)


def _is_compaction(items: Sequence[Said]) -> bool:
    return bool(items) and items[-1].text.startswith(COMPACTION)


def _reply(items: Sequence[Said], *, retry: int, serial: int) -> Reply:
    if _is_compaction(items):
        return Reply([{"type": "text", "text": f"A summary of {len(items)} items."}])
    return answer(items, retry=retry, serial=serial)


def _error(status: int, remark: str) -> web.Response:
    return web.json_response({"error": {"message": remark, "type": "scripted", "code": None}}, status=status)


async def _stream(request: web.Request, reply: Reply, conversation: str, items: Sequence[Said]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    output = items_of(reply.blocks)
    async for event in _events(output, reply):
        await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    ledger = request.app[RECORD].ledger
    if _is_compaction(items):
        ledger.forget(conversation)
    else:
        ledger.finished(conversation, items, _pieces(output), calls=any("call_id" in item for item in output))
    await response.write_eof()
    return response


def _pieces(output: Sequence[Json]) -> list[str]:
    """What a later request must hold of this reply: its texts and its calls."""
    return [str(item.get("call_id") or _said(item)) for item in output]


def _said(item: Json) -> str:
    content = item.get("content")
    return str(content[0]["text"]) if isinstance(content, list) else ""


async def _events(output: Sequence[Json], reply: Reply) -> AsyncIterator[Json]:
    response: Json = {"id": "resp_scripted", "object": "response", "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": response}
    for index, item in enumerate(output):
        yield {"type": "response.output_item.added", "output_index": index, "item": _empty(item)}
        for delta in _deltas(item):
            yield {"output_index": index, "item_id": item["id"], **delta}
            # The pause stands between two deltas; an interrupt cancels this handler here.
            await asyncio.sleep(reply.pause_s)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    if reply.hang:
        await asyncio.sleep(3600)
    yield {"type": "response.completed", "response": {**response, "status": "completed", "usage": _USAGE}}


def _empty(item: Json) -> Json:
    return {**item, **({"content": []} if "content" in item else {"summary": []} if "summary" in item else {})}


def _deltas(item: Json) -> Iterator[Json]:
    match item["type"]:
        case "message":
            text = _said(item)
            size = _SLOW_PIECE if text.startswith("slow text") else max(_PIECE, len(text) // 200)
            for piece in _cut(text, size):
                yield {"type": "response.output_text.delta", "content_index": 0, "delta": piece}
        case "reasoning":
            summary = item["summary"]
            assert isinstance(summary, list)
            yield {"type": "response.reasoning_summary_part.added", "summary_index": 0}
            for piece in _cut(str(summary[0]["text"]), 12):
                yield {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": piece}


def _cut(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))
