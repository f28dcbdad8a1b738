"""Carries out one call of a tool: arguments checked, scope demanded, the operation in a thread, waits on the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import marshmallow as ma
import structlog

from api.auth import demand
from api.mcp import asks, elicit
from api.mcp.tool import Asked, Guest, Told, Tool, Wait
from api.problems import Problem, from_error, from_fields, from_status
from api.routes import Edge
from api.schemas.fields import shown_as
from api.wire import NO_NEWS
from shared.domain.errors import AskClosed, CorralError, Unavailable
from shared.domain.ids import AskId, SessionId
from shared.domain.tenant import Scope
from shared.events.tail import Feed, Tail
from shared.operations import history
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

Value = TypeVar("Value")

_LOOK_S: Final = 5.0
"""However quiet the log, the store is looked at after this long: not every change of state is an event."""
_PAUSE_S: Final = 0.1
"""Least time between two looks: a flood of events must not become a flood of queries."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a human did with the form of one ask: `accept` (with `content`), `decline` or `cancel`."""

    action: str
    content: Mapping[str, Any]


@dataclass(slots=True)
class Human:
    """The human at the client, where the client can show forms.

    `filled` are forms that came back with this call. `ask` shows one and waits, or is None where the protocol has the
    client call again with the forms filled in.
    """

    can_fill: bool = False
    filled: Mapping[str, Filled] = field(default_factory=dict)
    ask: Callable[[Told], Awaitable[Filled]] | None = None


@dataclass(frozen=True, slots=True)
class NeedsHuman:
    """The call goes on when the client comes back with these asks' forms filled in."""

    asks: list[Told]


Tell = Callable[[float, float, str], Awaitable[None]]
"""Reports progress: seconds waited, seconds at most, what was seen."""


class Calls:
    """All calls of one process. Operations run in at most `threads` threads; `closing` ends every wait."""

    def __init__(self, edge: Edge, feed: Feed, closing: asyncio.Event, *, threads: int, agent: str) -> None:
        self._edge = edge
        self._feed = feed
        self._closing = closing
        self._agent = agent
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mcp")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, work: Callable[..., Value], *given: Any) -> Value:
        """What `work` gives, called in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)

    async def call(
        self, tool: Tool, guest: Guest, arguments: Mapping[str, Any], human: Human, tell: Tell
    ) -> dict[str, Any] | Problem | NeedsHuman:
        """The tool's answer as its schema dumps it, or what is wrong, or what the human has to fill in first."""
        began = time.perf_counter()
        answer = await self._answer(tool, guest, arguments, human, tell)
        outcome = answer.code if isinstance(answer, Problem) else "asked" if isinstance(answer, NeedsHuman) else "ok"
        duration_s = time.perf_counter() - began
        metrics.MCP_CALLS.labels(tool=tool.name, outcome=outcome).inc()
        metrics.MCP_CALL_SECONDS.labels(tool=tool.name).observe(duration_s)
        write = log.debug if tool.shape.hints.read_only else log.info
        write(
            "tool.called",
            tool=tool.name,
            outcome=outcome,
            duration_s=round(duration_s, 4),
            tenant=guest.caller.tenant,
            key=guest.caller.key,
        )
        return answer

    async def _answer(
        self, tool: Tool, guest: Guest, arguments: Mapping[str, Any], human: Human, tell: Tell
    ) -> dict[str, Any] | Problem | NeedsHuman:
        try:
            demand(guest.caller, tool.shape.scope)
            asked = Asked(self._edge, guest.caller, tool.shape.takes().load(dict(arguments)), self._agent)
            told = await self._carry_out(tool, asked, human, tell)
            if tool.shape.wait is not None:
                # Whoever's key was revoked meanwhile is not told what came of it.
                await self.in_thread(self._edge.keyring.caller, guest.secret)
        except ma.ValidationError as problem:
            return from_fields({"arguments": problem.messages})
        except CorralError as problem:
            return from_error(problem)
        except Exception:
            # Here the surprise ends: the caller learns that, the operator the whole story.
            log.exception("tool.failed", tool=tool.name)
            return from_status(500, "Something went wrong here. It has been logged under this request id.")
        return told if isinstance(told, NeedsHuman) else shown_as(tool.shape.gives, told)

    async def _carry_out(self, tool: Tool, asked: Asked, human: Human, tell: Tell) -> Told | NeedsHuman:
        for ask, filled in human.filled.items():
            await self.in_thread(_answer_form, asked, ask, filled)
        told = await self.in_thread(tool.run, asked)
        wait = tool.shape.wait
        if wait is None:
            return told
        deadline = asyncio.get_running_loop().time() + wait.seconds(asked.args)
        cancelled = {ask for ask, filled in human.filled.items() if filled.action == "cancel"}
        while True:
            told = await self._until_over(wait, asked, told, deadline, tell)
            open_asks = [ask for ask in told.get("asks", ()) if ask["id"] not in cancelled]
            if not (open_asks and human.can_fill and wait.asks_human(asked.args)):
                return told
            if human.ask is None:
                return NeedsHuman(open_asks)
            filled = await human.ask(open_asks[0])
            if filled.action == "cancel":
                cancelled.add(open_asks[0]["id"])
            await self.in_thread(_answer_form, asked, open_asks[0]["id"], filled)
            told = await self.in_thread(wait.again, asked, told)

    async def _until_over(self, wait: Wait, asked: Asked, told: Told, deadline: float, tell: Tell) -> Told:
        """Look again whenever something happened in the session, until it is over or the time is."""
        if asyncio.get_running_loop().time() >= deadline or await self.in_thread(wait.is_over, asked, told):
            return told
        latest = [told]
        with metrics.WAITS_OPEN.track_inprogress():
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(wait, asked, latest, deadline, tell))
                closing = group.create_task(self._closing.wait())
                await asyncio.wait({watching, closing}, return_when=asyncio.FIRST_COMPLETED)
                for task in (watching, closing):
                    task.cancel()
        return latest[0]

    async def _watch(self, wait: Wait, asked: Asked, latest: list[Told], deadline: float, tell: Tell) -> None:
        """Keep `latest[0]` up to date until the wait is over."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        session = SessionId(latest[0]["session"])
        # Where the store goes away in between, the caller gets what was true last: its effect is committed.
        with suppress(Unavailable):
            after = await self.in_thread(history.last_seq, asked.context, session)
            async with self._feed.follow(session, after) as tail:
                while True:
                    latest[0] = await self.in_thread(wait.again, asked, latest[0])
                    if await self.in_thread(wait.is_over, asked, latest[0]):
                        return
                    news = await self._news(tail, deadline)
                    if news is None:
                        return
                    await tell(loop.time() - began, deadline - began, news)

    async def _news(self, tail: Tail, deadline: float) -> str | None:
        """What happened, as soon as it did and a look is worth it; None when the time is over."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + _LOOK_S
        while loop.time() < deadline:
            until = min(deadline, look_at)
            items = await tail.next(max(0.0, until - loop.time()), self._feed.pool)
            if not items and loop.time() < look_at:
                return None
            if items and all(item.type in NO_NEWS for item in items):
                await asyncio.sleep(min(_PAUSE_S, max(0.0, deadline - loop.time())))
            return items[-1].type if items else "quiet"
        return None


def _answer_form(asked: Asked, ask: str, filled: Filled) -> None:
    """Answer an ask as its form says. Whoever answered first has won; that is no failure of the wait."""
    if filled.action == "cancel":
        return
    demand(asked.caller, Scope.WRITE)
    found = asks.found(asked, ask)
    said = elicit.answer_of(found, filled.content) if filled.action == "accept" else elicit.refusal_of(found)
    try:
        asks.answer(asked, AskId(ask), said)
    except AskClosed as closed:
        log.debug("tool.ask_was_closed", ask=ask, problem=closed.message)
