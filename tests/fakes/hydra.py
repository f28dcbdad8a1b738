"""An agent that tries to outlive its host: children in sessions of their own, orphans, scrubbed environments, forks.

Each of its processes stands in its working directory (that is how tests find them all) and appends to a file there.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

BEAT_S = 0.01
SELF = str(Path(__file__).resolve())


def count(name: str) -> None:
    """Append a byte to `name`, for ever, deaf to TERM, INT and HUP."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with Path(name).open("ab", buffering=0) as file:
        while True:
            file.write(b".")
            select.select([], [], [], BEAT_S)


def begin(name: str, *, session: bool, orphan: bool, scrubbed: bool, linger_s: float = 0.0) -> None:
    """Start a process that counts into `name`."""
    if os.fork():
        if orphan and not linger_s:
            os.wait()
        return
    if session:
        os.setsid()
    if orphan and os.fork():
        select.select([], [], [], linger_s)
        os._exit(0)
    if scrubbed:
        os.execve(sys.executable, [sys.executable, "-I", "-S", SELF, "count", name], {})  # noqa: S606
    count(name)


def heads(linger_s: float = 0.0) -> None:
    """One process of each kind that is hard to kill, and this one."""
    begin("child", session=False, orphan=False, scrubbed=False)
    begin("session", session=True, orphan=False, scrubbed=False)
    begin("orphan", session=True, orphan=True, scrubbed=False)
    begin("scrubbed", session=True, orphan=True, scrubbed=True, linger_s=linger_s)
    count("leader")


def chain() -> None:
    """Always one process: each forks the next and ends."""
    os.setsid() if os.getpid() != os.getsid(0) else None
    if os.fork():
        while True:
            select.select([], [], [], 60)
    os.setsid()
    while True:
        with Path("chain").open("ab", buffering=0) as file:
            file.write(b".")
        if os.fork():
            os._exit(0)


def bomb(limit: str) -> None:
    """Forks as fast as it can until about `limit` processes stand."""
    while sum(entry.name.isdigit() for entry in Path("/proc").iterdir()) < int(limit):
        os.fork()
    count(f"bomb-{os.getpid()}")


def leave(seconds: str) -> None:
    """Starts the same heads and ends by itself with code 7 after a while; they hold its stdout."""
    if os.fork() == 0:
        heads()
    select.select([], [], [], float(seconds))
    os._exit(7)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    {"count": count, "heads": lambda *a: heads(*map(float, a)), "chain": chain, "bomb": bomb, "leave": leave}[what](
        *arguments
    )
