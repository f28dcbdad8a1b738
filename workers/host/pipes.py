"""The three pipes of an agent, on the host's side: bounded writes to its stdin, the tail of its stderr."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
import termios

from shared.domain.errors import AgentGone, AgentNotReading

TAIL_BYTES = 4096
PIPE_BYTES = 256 * 1024
STDERR_READ_BYTES = 64 * 1024


def make() -> tuple[list[int], list[int]]:
    """Pipes for stdin, stdout and stderr: first our ends, then the agent's.

    Raises:
        OSError: this process has too many files open.
    """
    made: list[tuple[int, int]] = []
    try:
        for _ in range(3):
            made.append(os.pipe())  # noqa: PERF401 - what was made before a failure must be known
    except OSError:
        close([end for both in made for end in both])
        raise
    (their_in, our_in), (our_out, their_out), (our_err, their_err) = made
    # Without privilege the kernel bounds the sum of pipe buffers; a smaller pipe works as well.
    with contextlib.suppress(OSError):
        fcntl.fcntl(our_out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return [our_in, our_out, our_err], [their_in, their_out, their_err]


def close(descriptors: list[int]) -> None:
    """Close these, whatever state they are in."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


class Stdin:
    """The writing end of an agent's stdin. Owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._open = True
        self._written = 0
        self._unread = 0
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        """Write all of `data`, after what others are writing.

        Raises:
            AgentNotReading: not all could be written within timeout_s. When a part had been, stdin is closed.
            AgentGone: stdin is closed on either side.
        """
        left = memoryview(data)
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                while left:
                    left = left[self._some(left) :]
                    if left:
                        await self._wait_for_room()
        except TimeoutError as trouble:
            raise AgentNotReading(timeout_s) from trouble
        finally:
            # Half a line is in the pipe: whatever came behind it would be misread.
            if 0 < len(left) < len(data):
                self.close()

    @property
    def read_bytes(self) -> int:
        """How much of what was written the agent has read at most; exact once it is gone."""
        return self._written - self._unread

    def abandon(self) -> None:
        """The agent is gone: note what it never read, and close. Idempotent."""
        if self._open:
            self._unread = _waiting(self._descriptor)
            self.close()

    def close(self) -> None:
        """Close it: the agent reads its end. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._room.set()

    def _some(self, data: memoryview) -> int:
        if not self._open:
            raise AgentGone
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as trouble:
            self.abandon()
            raise AgentGone from trouble
        self._written += written
        return written

    async def _wait_for_room(self) -> None:
        self._room.clear()
        self._loop.add_writer(self._descriptor, self._room.set)
        try:
            await self._room.wait()
        finally:
            if self._open:
                self._loop.remove_writer(self._descriptor)


def _waiting(descriptor: int) -> int:
    """Bytes in a pipe that nobody has read."""
    try:
        answer = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


class Tail:
    """Drains an agent's stderr all the time and keeps its last 4 KiB. Owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._kept = b""
        self._ended = asyncio.Event()
        self._loop.add_reader(descriptor, self._read)

    @property
    def text(self) -> str:
        """What is kept; bytes that are no UTF-8 as backslash escapes."""
        return self._kept.decode("utf-8", "backslashreplace")

    async def ended(self, *, timeout_s: float) -> None:
        """Wait for the end of the pipe, at most timeout_s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()

    def close(self) -> None:
        """Stop draining. Idempotent."""
        if not self._ended.is_set():
            self._ended.set()
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, STDERR_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._kept = (self._kept + data)[-TAIL_BYTES:]
        else:
            self.close()
