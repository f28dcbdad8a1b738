"""The demo agent's ears and mouth: one JSON object a line on stdin and stdout, no thread, no loop.

Only the standard library, and little of it: the agent is up in a few hundredths of a second.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

Frame = dict[str, Any]

READ_BYTES = 65536
MAX_STUBBORN_S = 900.0
"""An agent that was told to ignore the end of its stdin still leaves after this long, for tests that failed."""


class Wire:
    """Frames in and out over two file descriptors."""

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._tail = b""
        self._frames: deque[Frame] = deque()
        self._ended_at: float | None = None
        self.stubborn = False
        """Whether to live on when the host has closed either pipe."""

    @property
    def host_is_gone(self) -> bool:
        """Whether stdin has ended and this agent cares."""
        return self._ended_at is not None and not self.stubborn

    def put(self, data: bytes) -> None:
        """Write raw bytes, waiting for as long as the host does not read."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._stdout, view) :]
            except BrokenPipeError:
                self._lose_stdout()
            except BlockingIOError:
                # Whoever made the pipe may have left it non-blocking; to us it blocks all the same.
                select.select([], [self._stdout], [])

    def say(self, kind: str, **fields: Any) -> None:
        """Write one frame."""
        self.put(encode({"type": kind, **fields}))

    def take(self) -> Frame | None:
        """The oldest frame that was heard and not taken yet."""
        return self._frames.popleft() if self._frames else None

    def listen(self, timeout_s: float, others: Sequence[int] = ()) -> list[int]:
        """Wait until the host speaks, one of `others` can be read, or `timeout_s` is over; gives the readable others.

        Returns at once when frames are waiting already.
        """
        sources = [*others] if self._ended_at is not None else [self._stdin, *others]
        wait_s = 0.0 if self._frames else max(0.0, timeout_s)
        ready = select.select(sources, [], [], wait_s)[0]
        if self._ended_at is None and self._stdin in ready:
            self._read()
            ready.remove(self._stdin)
        elif self._ended_at is not None and time.monotonic() - self._ended_at > MAX_STUBBORN_S:
            raise SystemExit(0)
        return ready

    def _read(self) -> None:
        data = os.read(self._stdin, READ_BYTES)
        if not data:
            self._ended_at = time.monotonic()
            data = b"\n"
        *lines, self._tail = (self._tail + data).split(b"\n")
        self._frames.extend(decode(line) for line in lines if line.strip())

    def _lose_stdout(self) -> None:
        if not self.stubborn:
            raise SystemExit(0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stdout)


def encode(frame: Frame) -> bytes:
    """`frame` as one line."""
    return json.dumps(frame, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Frame:
    """The frame in `line`; what is none becomes `{"type": "bad_frame", "problem": …}`."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"type": "bad_frame", "problem": f"not JSON: {error}"}
    if not isinstance(frame, dict):
        return {"type": "bad_frame", "problem": f"a JSON object is expected, not {type(frame).__name__}"}
    return frame
