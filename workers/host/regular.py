"""Reads files of an agent's home. The agent may have put anything in their place: a link, a pipe, a terabyte."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_PIECE: Final = 1024 * 1024


def content(path: Path, limit_bytes: int) -> bytes | None:
    """What the regular file at `path` holds; None where there is none, or a larger one. Never waits for a pipe."""
    try:
        with _opened(path) as file:
            return None if file is None or os.fstat(file.fileno()).st_size > limit_bytes else file.read(limit_bytes)
    except OSError:
        return None


def lines(path: Path) -> int | None:
    """How many lines, ended by a newline, the regular file at `path` has; None where there is none."""
    try:
        with _opened(path) as file:
            return None if file is None else sum(piece.count(b"\n") for piece in iter(lambda: file.read(_PIECE), b""))
    except OSError:
        return None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        yield file if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
