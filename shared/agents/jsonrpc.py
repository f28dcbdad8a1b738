"""JSON-RPC, a message a line: what we ask and what it was for, what the agent asks, tells and answers.

No transport and no meaning: drivers over it give the methods theirs. Nothing here raises, whatever the line holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeGuard, TypeVar

from shared.agents import jsonlines
from shared.agents.driver import Send
from shared.domain.json import JsonObject, JsonValue

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

MAX_PENDING: Final = 256
"""Requests of ours without an answer; the oldest is forgotten beyond, and its late answer is `Stray`."""
MAX_ID_CHARS: Final = 200
_MAX_ID: Final = 2**63

RpcId: TypeAlias = int | str
Purpose = TypeVar("Purpose")
"""What a request of ours was for, in the driver's own words; its answer brings it back."""


@dataclass(frozen=True, slots=True)
class Request:
    """The agent asks, and waits for `Peer.result` or `Peer.failure` under this id."""

    id: RpcId
    method: str
    params: JsonObject
    """Positional parameters read as none: nobody sends them here."""


@dataclass(frozen=True, slots=True)
class Notification:
    """The agent tells."""

    method: str
    params: JsonObject


@dataclass(frozen=True, slots=True)
class Result(Generic[Purpose]):
    """The answer to a request of ours; one that is no object (null) reads as an empty one."""

    purpose: Purpose
    value: JsonObject


@dataclass(frozen=True, slots=True)
class Failure(Generic[Purpose]):
    """A request of ours was refused."""

    purpose: Purpose
    code: int
    message: str
    data: JsonValue = None


@dataclass(frozen=True, slots=True)
class Stray:
    """An answer to nothing we asked (any more)."""

    id: RpcId | None


@dataclass(frozen=True, slots=True)
class Malformed:
    """No message of JSON-RPC."""


Message: TypeAlias = Request | Notification | Result[Purpose] | Failure[Purpose] | Stray | Malformed


class Peer(Generic[Purpose]):
    """Our end of one connection. What it keeps is bounded, whatever the other end does."""

    def __init__(self, *, versioned: bool) -> None:
        """Versioned messages carry `"jsonrpc": "2.0"`. What is read may carry it or not."""
        self._versioned = versioned
        self._requests = 0
        self._pending: dict[RpcId, Purpose] = {}

    # --- ours

    def request(self, method: str, params: JsonObject, purpose: Purpose) -> Send:
        """Ask under an id of its own. `purpose` comes back with the `Result` or `Failure`."""
        self._requests += 1
        if len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[self._requests] = purpose
        return self._line({"id": self._requests, "method": method, "params": params})

    def notify(self, method: str, params: JsonObject) -> Send:
        """Tell, and expect nothing."""
        return self._line({"method": method, "params": params})

    def result(self, request: RpcId, value: JsonValue) -> Send:
        """Answer a request of the agent."""
        return self._line({"id": request, "result": value})

    def failure(self, request: RpcId, code: int, message: str) -> Send:
        """Refuse a request of the agent."""
        return self._line({"id": request, "error": {"code": code, "message": message}})

    def awaits(self, purpose: Purpose) -> bool:
        """Whether a request with this purpose is without its answer."""
        return purpose in self._pending.values()

    def _line(self, message: JsonObject) -> Send:
        return jsonlines.line({"jsonrpc": "2.0", **message} if self._versioned else message)

    # --- theirs

    def read(self, line: str) -> Message[Purpose]:
        """What a whole line says."""
        frame = jsonlines.parse(line)
        return Malformed() if frame is None else self._meaning(frame)

    def read_cut(self, line: str) -> Message[Purpose]:
        """What can be known of a line whose end is missing: who asks, tells or answers, though not what.

        Params, results and errors read as empty ones.
        """
        return self._meaning(dict(_members(line)))

    def _meaning(self, frame: JsonObject) -> Message[Purpose]:
        name, method = frame.get("id"), frame.get("method")
        if isinstance(method, str):
            if "id" not in frame:
                return Notification(method, jsonlines.obj(frame, "params"))
            return Request(name, method, jsonlines.obj(frame, "params")) if _is_id(name) else Malformed()
        if "result" in frame or "error" in frame:
            return self._answer(name, frame)
        return Malformed()

    def _answer(self, name: JsonValue, frame: JsonObject) -> Message[Purpose]:
        if not _is_id(name):
            # An agent that could not read a message of ours answers under null.
            return Stray(None) if name is None else Malformed()
        if name not in self._pending:
            return Stray(name)
        purpose = self._pending.pop(name)
        if "error" not in frame:
            return Result(purpose, jsonlines.obj(frame, "result"))
        error = jsonlines.obj(frame, "error")
        code = int(jsonlines.number(error, "code") or INTERNAL_ERROR)
        return Failure(purpose, code, jsonlines.text(error, "message"), error.get("data"))


def _is_id(value: JsonValue) -> TypeGuard[RpcId]:
    if isinstance(value, str):
        return len(value) <= MAX_ID_CHARS
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_ID


_DECODER: Final = json.JSONDecoder()


def _members(line: str) -> Iterator[tuple[str, JsonValue]]:
    """The members of the outermost object up to the one that was cut, containers as empty objects."""
    place = _after(line, 0, "{")
    while place is not None:
        key, place = _value(line, place)
        place = _after(line, place, ":")
        if not isinstance(key, str) or place is None:
            return
        value, place = _value(line, place)
        yield key, {} if place is None or isinstance(value, dict | list) else value
        place = _after(line, place, ",")


def _value(line: str, place: int) -> tuple[JsonValue, int | None]:
    """The JSON value that begins at `place`, and where it ends; None where it does not."""
    try:
        value, end = _DECODER.raw_decode(line, _skipped(line, place))
    except (ValueError, RecursionError):
        return None, None
    return value, end


def _after(line: str, place: int | None, mark: str) -> int | None:
    if place is None:
        return None
    place = _skipped(line, place)
    return place + 1 if line.startswith(mark, place) else None


def _skipped(line: str, place: int) -> int:
    while place < len(line) and line[place] in " \t\r\n":
        place += 1
    return place
