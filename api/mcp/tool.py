"""What a tool is: a REST operation under another name. Knows nothing of the protocol that carries its calls."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import marshmallow as ma

from api.routes import Edge
from shared.domain.errors import NotFound
from shared.domain.ids import SessionId, is_id
from shared.domain.tenant import Caller, Scope
from shared.operations.context import Context

Value = TypeVar("Value")
Told = dict[str, Any]
"""What a tool answers, before its schema dumps it."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What clients may assume of a tool when they decide whether to ask their human first."""

    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False


READS = Hints(read_only=True, idempotent=True)
ADDS = Hints()
SETS = Hints(idempotent=True)
ENDS = Hints(destructive=True, idempotent=True)


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody the door let in, and the key they came with: it may be revoked while they wait."""

    caller: Caller
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a tool by an authenticated caller, its arguments checked and named as in the tool's schema."""

    edge: Edge
    caller: Caller
    args: Mapping[str, Any]
    agent: str = ""
    """The agent of a session whose caller names none."""

    @property
    def context(self) -> Context:
        """What operations are handed."""
        return self.edge.context

    @property
    def session(self) -> SessionId:
        """The session the call is about."""
        return self.id("session", "ses", SessionId)

    def id(self, name: str, prefix: str, kind: Callable[[str], Value]) -> Value:
        """The id in the argument `name`.

        Raises:
            NotFound: it has not the shape of such an id, so there can be none.
        """
        text = self.args[name]
        if not is_id(text, prefix):
            raise NotFound(name, text[:80])
        return kind(text)


@dataclass(frozen=True, slots=True)
class Wait:
    """How a tool waits in the session its answer names as `session`: it looks again whenever the log grew.

    `seconds` reads out of the arguments for how long, `again` looks, `is_over` says whether that is what the caller
    waits for. With `asks_human` an ask that turns up goes to the human at the client, where the client can show it.
    """

    seconds: Callable[[Mapping[str, Any]], float]
    again: Callable[[Asked, Told], Told]
    is_over: Callable[[Asked, Told], bool]
    asks_human: Callable[[Mapping[str, Any]], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything about a tool but its function."""

    title: str
    takes: type[ma.Schema]
    gives: type[ma.Schema]
    scope: Scope
    example: Mapping[str, Any]
    """Arguments of a call, shown in the description."""
    hints: Hints = READS
    wait: Wait | None = None


Run = Callable[[Asked], Told]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `run` blocks and is called in a thread."""

    name: str
    about: str
    shape: Shape
    run: Run

    @property
    def description(self) -> str:
        """What a model reads before it decides to call this."""
        return f"{self.about}\n\nExample arguments: {json.dumps(self.shape.example, ensure_ascii=False)}"


@dataclass(slots=True)
class Family:
    """Tools that belong together. The function's name is the tool's, its docstring the description."""

    name: str
    tools: dict[str, Tool] = field(default_factory=dict)

    def add(self, shape: Shape) -> Callable[[Run], Run]:
        """Register a function."""

        def decorator(run: Run) -> Run:
            self.tools[run.__name__] = Tool(run.__name__, inspect.cleandoc(run.__doc__ or ""), shape, run)
            return run

        return decorator
