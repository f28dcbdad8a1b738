"""One running agent: its lines, its stdin, its end. Started by `processes.Warden.spawn`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Protocol

from shared.agents.driver import ExitStatus
from shared.domain.ids import SessionId
from workers.host import pipes
from workers.host.lines import Line, LineReader, LineSplitter

STDERR_S = 1.0
"""How long the end of an exit's stderr is waited for."""


class Keeper(Protocol):
    """Who can reach a session's processes: the warden's client."""

    def signal(self, session: SessionId, number: int) -> None:
        """Send a signal to the process group of the session's leader."""
        ...

    async def kill(self, session: SessionId) -> None:
        """Kill every process of the session."""
        ...


class Process:
    """One agent process: the leader of a session of its own, and of the tree beneath it."""

    def __init__(self, keeper: Keeper, session: SessionId, ends: list[int], splitter: LineSplitter) -> None:
        self.session = session
        self.pid = 0
        self._keeper = keeper
        self._stdin = pipes.Stdin(ends[0])
        self._reader = LineReader(ends[1], splitter)
        self._tail = pipes.Tail(ends[2])
        self._exit: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()

    @property
    def stderr_tail(self) -> str:
        """The last 4 KiB the agent and its children wrote to stderr."""
        return self._tail.text

    @property
    def read_bytes(self) -> int:
        """How much of what was written to its stdin the agent has read at most; exact once it is gone."""
        return self._stdin.read_bytes

    @property
    def has_ended(self) -> bool:
        """Whether the leader's exit is known."""
        return self._exit.done()

    async def lines(self) -> AsyncIterator[Line]:
        """The agent's stdout, line by line, to its end. Unread output stays in the pipe. For one taker."""
        async for batch in self._reader.batches():
            for line in batch:
                yield line

    def batches(self) -> AsyncIterator[list[Line]]:
        """As `lines`, as many at once as are there (up to 256): cheaper under a flood. One or the other."""
        return self._reader.batches()

    def pause(self) -> None:
        """Leave output in the pipe, so that the agent waits. Idempotent."""
        self._reader.pause()

    def resume(self) -> None:
        """Read output again. Idempotent."""
        self._reader.resume()

    async def write(self, data: bytes, *, timeout_s: float = 30.0) -> None:
        """Write to the agent's stdin, whole and in the order of calls.

        Raises:
            AgentNotReading: the agent did not read all of it within timeout_s. When it read a part, its
                stdin is closed, since what came next would be misread.
            AgentGone: stdin is closed on either side.
        """
        await self._stdin.write(data, timeout_s=timeout_s)

    def close_stdin(self) -> None:
        """Let the agent read the end of its stdin. Idempotent."""
        self._stdin.close()

    async def wait(self) -> ExitStatus:
        """How the leader ended, once it has. What it left running is being killed by then."""
        status = await asyncio.shield(self._exit)
        await self._tail.ended(timeout_s=STDERR_S)
        told = "\n".join(text for text in (self._tail.text, status.stderr_tail) if text)
        return ExitStatus(code=status.code, signal=status.signal, stderr_tail=told)

    async def stop(self, *, grace_s: float) -> ExitStatus:
        """TERM to the leader's group, up to grace_s to end, then KILL to the whole tree. Idempotent.

        When it returns no process of the session is left, also where the leader ended by itself.
        """
        if not self.has_ended:
            self._keeper.signal(self.session, signal.SIGTERM)
            await asyncio.wait({self._exit}, timeout=grace_s)
        await self._keeper.kill(self.session)
        status = await self.wait()
        self.dispose()
        return status

    def dispose(self) -> None:
        """Close what is still open here. Lines that somebody takes are left to their end. Idempotent."""
        self._stdin.close()
        self._tail.close()
        self._reader.close_untaken()

    def ended(self, status: ExitStatus) -> None:
        """For the warden's client: the leader is gone."""
        if not self._exit.done():
            self._exit.set_result(status)
            self._stdin.abandon()
            self._reader.expect_end()
