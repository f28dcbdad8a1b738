"""Processes of this machine as /proc shows them: who descends from whom, and how to freeze and end a whole tree.

Standard library only, and little of it: the warden imports this and must stay small. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping

MARK = "CORRAL_SESSION_ID"
"""Environment variable that every process of a session inherits; its value is the session's id."""

EMPTY_LOOKS = 3
DEAD = "ZXx"
STOPPED = "TtZXx"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Seen:
    """One process at the moment it was looked at. `started` tells it from a later one with the same pid."""

    __slots__ = ("group", "parent", "pid", "session", "started", "state")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.started = int(fields[19])


Table = Mapping[int, Seen]


def look(pid: int) -> Seen | None:
    """The process `pid`, a zombie included; None when there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(descriptor, 1024)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # The command may hold blanks and brackets; nothing after its last bracket does.
    return Seen(pid, line[line.rindex(b")") + 2 :].split())


def pids() -> set[int]:
    """Every process this one may see."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - names, not paths


def everyone() -> dict[int, Seen]:
    """Every process this one may see, zombies included."""
    return {pid: seen for pid in pids() if (seen := look(pid))}


def marks(pid: int) -> str | None:
    """The session `pid` was marked with when its program began; None when it bears no readable mark."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - pathlib would double the warden's start
            environ = b"\0" + file.read()
    except OSError:
        return None
    _, found, rest = environ.partition(f"\0{MARK}=".encode())
    return os.fsdecode(rest.partition(b"\0")[0]) if found else None


def name(pid: int) -> str:
    """What the program of `pid` is called, 15 letters of it; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:  # noqa: PTH123 - as above
            return os.fsdecode(file.read()).rstrip("\n")
    except OSError:
        return ""


def with_descendants(table: Table, roots: Iterable[int], *, spare: Collection[int] = ()) -> set[int]:
    """`roots` and all beneath them; what is in `spare` is left out with all beneath it."""
    children: dict[int, list[int]] = {}
    for seen in table.values():
        children.setdefault(seen.parent, []).append(seen.pid)
    found: set[int] = set()
    ahead = [pid for pid in roots if pid in table]
    while ahead:
        pid = ahead.pop()
        if pid not in found and pid not in spare:
            found.add(pid)
            ahead += children.get(pid, ())
    return found


def ancestry(table: Table, pid: int) -> set[int]:
    """`pid` and all above it."""
    found: set[int] = set()
    while pid in table and pid not in found:
        found.add(pid)
        pid = table[pid].parent
    return found


def send(target: Seen, number: int) -> bool:
    """Signal `target` if it still is the process that was seen. False when it is gone or not ours to signal."""
    now = look(target.pid)
    if now is None or now.started != target.started:
        return False
    try:
        os.kill(target.pid, number)
    except OSError:
        return False
    return True


Choose = Callable[[], Collection[Seen]]
"""Looks at the machine afresh and gives the living processes that are meant."""


def freeze(choose: Choose, *, within_s: float) -> dict[int, Seen]:
    """Stop what `choose` gives, again and again until nothing in it moves, so that no fork escapes.

    Gives the processes this call stopped; those that had been stopped before are not among them. Gives up
    after within_s seconds (a process deep in the kernel stops late).
    """
    deadline = time.monotonic() + within_s
    stopped: dict[int, Seen] = {}
    calm = 0
    # Two calm looks: in the first, a process may have forked after the list was drawn up and stopped
    # before it was looked at. Once all have stopped, the second list is whole.
    while calm < 2 and time.monotonic() < deadline:
        moving = [seen for seen in choose() if seen.state not in STOPPED]
        fresh = [seen for seen in moving if seen.pid not in stopped]
        for seen in fresh:
            if send(seen, signal.SIGSTOP):
                stopped[seen.pid] = seen
        calm = 0 if moving else calm + 1
        if moving and not fresh:
            time.sleep(0.0005)
    return stopped


def end(choose: Choose, *, within_s: float) -> int:
    """Freeze, then kill all that `choose` gives, until it gives nothing. How many were killed.

    Own children among them are reaped.
    """
    deadline = time.monotonic() + within_s
    killed: set[tuple[int, int]] = set()
    empty = 0
    # Three looks: one that forks and ends without pause may slip through one of them.
    while empty < EMPTY_LOOKS and time.monotonic() < deadline:
        freeze(choose, within_s=max(0.0, min(0.5, deadline - time.monotonic())))
        left = choose()
        for seen in left:
            if send(seen, signal.SIGKILL):
                killed.add((seen.pid, seen.started))
        for pid, _ in killed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        empty = 0 if left else empty + 1
        if left:
            time.sleep(0.001)
    return len(killed)


def living(table: Table, chosen: Iterable[int]) -> list[Seen]:
    """Those of `chosen` that are more than a zombie."""
    return [table[pid] for pid in chosen if table[pid].state not in DEAD]


def adopt_orphans() -> None:
    """Make this process the parent of every orphan beneath it (PR_SET_CHILD_SUBREAPER). Idempotent.

    Raises:
        OSError: the kernel refuses.
    """
    if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def forget_keys() -> None:
    """Give this process a new, empty session keyring, where the kernel has such."""
    number = _KEYCTL.get(os.uname().machine)
    if number:
        _LIBC.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
