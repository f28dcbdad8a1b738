"""One agent at work: its process and its dialogue, held together. Lines in, outputs to the session, bytes out.

It decides nothing: what outputs mean is the session's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from shared.agents.driver import Dialogue, DialogueInput, ExitStatus, Launch, LaunchOptions, Leave, Output
from shared.domain.errors import AgentGone, AgentNotReading
from workers.host.agent_process import Process


@dataclass(frozen=True, slots=True)
class Started:
    """A process that was just started, and how."""

    process: Process
    dialogue: Dialogue
    launch: Launch
    options: LaunchOptions
    outlet: AbstractAsyncContextManager[None] = field(default_factory=contextlib.nullcontext)
    """Serves its only way out while it runs; nothing where it has the machine's network."""


class Listener(Protocol):
    """Who hears an agent: its session. All but `room` are called on the loop and must not block."""

    def take(self, outputs: Sequence[Output], size: int) -> None:
        """What the dialogue made of `size` bytes of the agent's output."""
        ...

    def read(self) -> None:
        """A batch of lines has been taken whole."""
        ...

    async def room(self) -> None:
        """Returns when more may be read."""
        ...


class Agent:
    """A running agent. `run` lives as long as its process; the rest is said to it meanwhile."""

    def __init__(self, started: Started, listener: Listener, *, stop_s: float) -> None:
        self.started = started
        self._process = started.process
        self._dialogue = started.dialogue
        self._listener = listener
        self._stop_s = stop_s
        self._bytes: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sent_bytes = 0
        """All it was to be sent so far."""
        self._over = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether it will never read or say anything more."""
        return self._over.is_set()

    def has_read_beyond(self, offset: int) -> bool:
        """Whether it has read any byte behind the first `offset` of those it was sent, as far as is known."""
        return not self.has_ended or self._process.read_bytes > offset

    async def run(self) -> ExitStatus:
        """Read the agent to its end, then let the dialogue end. No process of the session is left on return.

        Cancelled, it kills them at once and says nothing more.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write())
                self.open()
                await self._read()
                writer.cancel()
            status = await self._process.stop(grace_s=self._stop_s)
        except BaseException:
            await self._process.stop(grace_s=0)
            raise
        finally:
            self._over.set()
        self._listener.take(self._dialogue.end(status), 0)
        self._listener.read()
        return status

    def open(self) -> None:
        """Say the dialogue's first words."""
        self._listener.take(self._dialogue.open(), 0)

    def say(self, wish: DialogueInput) -> None:
        """Translate a wish; its bytes go out behind those of earlier ones."""
        self._listener.take(self._dialogue.send(wish), 0)
        self._listener.read()

    def woke(self) -> None:
        """The moment the dialogue asked for has come."""
        self._listener.take(self._dialogue.woke(), 0)
        self._listener.read()

    def send(self, data: bytes) -> None:
        """Write these bytes to the agent, in order, as soon as it reads."""
        self.sent_bytes += len(data)
        self._bytes.put_nowait(data)

    async def leave(self, grace_s: float) -> None:
        """Ask the agent to end by itself, wait up to grace_s, then stop it. Returns when `run` is over."""
        self.say(Leave())
        self._bytes.put_nowait(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._over.wait()
                return
        await self.stop()

    async def stop(self) -> None:
        """TERM, a while, KILL of the whole tree. Returns when `run` is over."""
        await self._process.stop(grace_s=self._stop_s)
        await self._over.wait()

    async def _read(self) -> None:
        async for batch in self._process.batches():
            for line in batch:
                self._listener.take(self._dialogue.feed(line.text, dropped=line.dropped), len(line.text))
            self._listener.read()
            await self._listener.room()

    async def _write(self) -> None:
        # What cannot be written is dropped: the agent's end is heard where it is read.
        with contextlib.suppress(AgentGone):
            while (data := await self._bytes.get()) is not None:
                try:
                    await self._process.write(data)
                except AgentNotReading:
                    await self._process.stop(grace_s=self._stop_s)
            self._process.close_stdin()
