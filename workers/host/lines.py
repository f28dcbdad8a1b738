"""Agents' output as lines, within bounds whatever an agent prints: 100 MB without a newline, bad UTF-8, no end.

A line beyond its limit is cut and what is lost is counted; nothing here knows what a line means.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

READ_BYTES = 256 * 1024
FREE_BYTES = 64 * 1024
"""So much of an unfinished line needs no budget: a few huge lines elsewhere must not cost an agent its small ones."""
BATCH_LINES = 256
"""The most lines handed out before the loop's other work has its turn."""
LAST_WORDS_S = 1.0
"""How long a silent pipe stays open after its process has ended, for the sake of whoever else holds it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its newline. `dropped` bytes of its end were beyond the limits."""

    text: str
    dropped: int = 0


class LineBudget:
    """Bytes of unfinished lines that all readers of one worker may keep together. For one thread."""

    def __init__(self, total: int) -> None:
        self._left = total

    @property
    def left(self) -> int:
        """Bytes not lent out."""
        return self._left

    def take(self, wanted: int) -> int:
        """Borrow up to `wanted` bytes: how many there were."""
        granted = min(wanted, self._left)
        self._left -= granted
        return granted

    def give(self, size: int) -> None:
        """Return what was borrowed."""
        self._left += size


class LineSplitter:
    """Bytes in, lines out. Looks at every byte once; keeps at most `limit` bytes of a line that has not ended."""

    def __init__(self, *, limit: int, budget: LineBudget) -> None:
        self._limit = limit
        self._budget = budget
        self._chunk = b""
        self._at = 0
        self._kept = bytearray()
        self._borrowed = 0
        self._dropped = 0

    @property
    def is_hungry(self) -> bool:
        """Whether all that was fed has been looked at."""
        return self._at >= len(self._chunk)

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Only when hungry."""
        self._chunk = data
        self._at = 0

    def take(self, most: int) -> list[Line]:
        """Up to `most` whole lines of what was fed."""
        lines: list[Line] = []
        while len(lines) < most and not self.is_hungry:
            end = self._chunk.find(b"\n", self._at)
            if end < 0:
                self._keep(self._chunk[self._at :])
                self._chunk, self._at = b"", 0
                break
            if self._kept or self._dropped or end - self._at > self._limit:
                self._keep(self._chunk[self._at : end])
                lines.append(self._whole())
            else:
                lines.append(Line(_text(self._chunk[self._at : end])))
            self._at = end + 1
        return lines

    def finish(self) -> list[Line]:
        """The last line where it lacks its newline. Call when hungry and nothing more comes."""
        return [self._whole()] if self._kept or self._dropped else []

    def _keep(self, part: bytes) -> None:
        wanted = 0 if self._dropped else min(len(part), self._limit - len(self._kept))
        free = min(wanted, max(0, FREE_BYTES - len(self._kept)))
        borrowed = self._budget.take(wanted - free)
        self._borrowed += borrowed
        self._kept += part[: free + borrowed]
        self._dropped += len(part) - free - borrowed

    def _whole(self) -> Line:
        line = Line(_text(self._kept), self._dropped)
        self._budget.give(self._borrowed)
        self._kept, self._borrowed, self._dropped = bytearray(), 0, 0
        return line


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "backslashreplace")


class LineReader:
    """The lines of a pipe, read on the running loop only as fast as they are taken. Owns the descriptor."""

    def __init__(self, descriptor: int, splitter: LineSplitter) -> None:
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._splitter = splitter
        self._watching = False
        self._paused = False
        self._ended = False
        self._taken = False
        self._bell = asyncio.Event()

    async def batches(self, most: int = BATCH_LINES) -> AsyncIterator[list[Line]]:
        """Lines as they come, several at once, never an empty list. Ends with the pipe. For one taker."""
        self._taken = True
        try:
            while not (self._ended and self._splitter.is_hungry):
                if batch := self._splitter.take(most):
                    yield batch
                    # A flood of output must not keep the loop from beats and answers.
                    await asyncio.sleep(0)
                elif not self._ended:
                    await self._more()
            if last := self._splitter.finish():
                yield last
        finally:
            self._splitter.finish()

    def pause(self) -> None:
        """Leave further output in the pipe, so that the agent waits when it is full. Idempotent."""
        self._paused = True
        self._watch(False)

    def resume(self) -> None:
        """Read again. Idempotent."""
        self._paused = False
        self._watch(True)

    def expect_end(self) -> None:
        """The process has ended: should another one hold the pipe open in silence, stop waiting for it."""
        if not self._ended:
            self._loop.call_later(LAST_WORDS_S, self._end_if_silent)

    def close(self) -> None:
        """Stop reading. What was read before can still be taken. Idempotent."""
        if not self._ended:
            self._watch(False)
            self._ended = True
            os.close(self._descriptor)
            self._bell.set()

    def close_untaken(self) -> None:
        """Close unless somebody takes the lines and so will see the end."""
        if not self._taken:
            self.close()

    async def _more(self) -> None:
        self._bell.clear()
        self._watch(True)
        await self._bell.wait()

    def _watch(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        wanted = wanted and not self._paused and not self._ended
        if wanted and not self._watching:
            self._loop.add_reader(self._descriptor, self._read)
        elif self._watching and not wanted:
            self._loop.remove_reader(self._descriptor)
        self._watching = wanted

    def _read(self) -> None:
        if not self._splitter.is_hungry:
            # Nobody takes what is here already; taking the rest of it switches this on again.
            self._watch(False)
            return
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._splitter.feed(data)
            self._bell.set()
        else:
            self.close()

    def _end_if_silent(self) -> None:
        if self._ended:
            return
        waiting = self._watching and self._splitter.is_hungry and not self._bell.is_set()
        if waiting:
            self._read()
        if waiting and self._splitter.is_hungry:
            self.close()
        else:
            self.expect_end()
