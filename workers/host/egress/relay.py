"""Carries bytes between an agent and where it was let through to, within bounds of silence and time."""

from __future__ import annotations

import asyncio
from asyncio import StreamWriter
from typing import Final

from shared.telemetry import metrics
from workers.host.egress.dial import Streams

CHUNK: Final = 64 * 1024
SILENCE_S: Final = 900.0
"""A connection over which nothing goes either way for this long is closed: longer than a model thinks."""
LONGEST_S: Final = 24 * 3600.0
_LONGEST_SIZE: Final = 12
"""Hexadecimal digits of a chunk's size."""
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_SENT: Final = metrics.EGRESS_BYTES.labels(direction="sent")
_RECEIVED: Final = metrics.EGRESS_BYTES.labels(direction="received")


class BadBody(Exception):
    """The body does not have the form its head promised."""


class Relay:
    """One agent's connection joined to a far one. Either method once; both return when there is no more to carry.

    Raises:
        TimeoutError: nothing went either way for too long, or it went on for too long.
        OSError: a side broke off; in an exception group, as the next.
        BadBody: the agent's words are no body.
    """

    def __init__(self, agent: Streams, far: Streams, *, silence_s: float = SILENCE_S) -> None:
        self._agent = agent
        self._far = far
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._silence = asyncio.timeout(silence_s)

    async def tunnel(self) -> None:
        """Carry bytes both ways until both sides have ended."""
        async with asyncio.timeout(LONGEST_S), self._silence, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._carry_out())
            tasks.create_task(self._carry_back())

    async def exchange(self, head: bytes, length: int | None) -> None:
        """Send one request whose body has `length` bytes (None: chunks), and carry back all that is answered.

        What the agent sends beyond its body goes nowhere: it was not judged.
        """
        async with asyncio.timeout(LONGEST_S), self._silence, asyncio.TaskGroup() as tasks:
            await self._send(head)
            sending = tasks.create_task(self._send_chunks() if length is None else self._send_exactly(length))
            await self._carry_back()
            # Answered before the body was through, as servers do that refuse it.
            sending.cancel()

    # --- both ways --------------------------------------------------------------------------------------------

    async def _carry_out(self) -> None:
        while data := await self._agent[0].read(CHUNK):
            await self._send(data)
        _end(self._far[1])

    async def _carry_back(self) -> None:
        source, sink = self._far[0], self._agent[1]
        while data := await source.read(CHUNK):
            self._note(len(data))
            _RECEIVED.inc(len(data))
            sink.write(data)
            await sink.drain()
        _end(sink)

    async def _send(self, data: bytes) -> None:
        self._note(len(data))
        _SENT.inc(len(data))
        self._far[1].write(data)
        await self._far[1].drain()

    def _note(self, size: int) -> None:
        if size:
            self._silence.reschedule(self._loop.time() + self._silence_s)

    # --- one body ---------------------------------------------------------------------------------------------

    async def _send_exactly(self, length: int) -> None:
        while length:
            data = await self._agent[0].read(min(CHUNK, length))
            if not data:
                raise BadBody
            length -= len(data)
            await self._send(data)

    async def _send_chunks(self) -> None:
        size = -1
        while size:
            size = _size(await self._line())
            # Written anew: extensions, of which readers make different things, stay behind.
            await self._send(b"%x\r\n" % size)
            await self._send_exactly(size)
            if size:
                if await self._line():
                    raise BadBody
                await self._send(b"\r\n")
        while await self._line():
            # Trailers stay behind as well.
            continue
        await self._send(b"\r\n")

    async def _line(self) -> bytes:
        try:
            line = await self._agent[0].readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as problem:
            raise BadBody from problem
        return line[:-2]


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > _LONGEST_SIZE or not _HEX.issuperset(digits):
        raise BadBody
    return int(digits, 16)


def _end(sink: StreamWriter) -> None:
    if sink.can_write_eof() and not sink.is_closing():
        sink.write_eof()
