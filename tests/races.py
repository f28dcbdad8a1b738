"""Races against the opener and the writer: a hostile process swaps things as fast as it can while files are asked for.

`make race` runs the long one, 20 rounds of 5 s each way; the suite a short one. A leak is a byte of what lies outside.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared.domain.errors import CorralError
from shared.workspaces import archive, opener, writer

SECRET = b"the secret beside the workspace"
ONLY_OUTSIDE = "only-outside"
NO_OPENAT2 = 9999
"""A number no system call has: the opener goes step by step then."""

_SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pairs = [(a.encode(), b.encode()) for a, b in zip(sys.argv[1::2], sys.argv[2::2])]
print("ready", flush=True)
EXCHANGE = 2
while os.getppid() == int(os.environ["RACE_PARENT"]):
    for _ in range(1000):
        for one, other in pairs:
            libc.renameat2(-100, one, -100, other, EXCHANGE)
"""


@dataclass
class Tally:
    """What a race came to."""

    opens: int = 0
    answered: int = 0
    leaks: int = 0
    changed_outside: int = 0


@contextmanager
def swapping(root: Path) -> Iterator[None]:
    """A process that exchanges, without end, what is harmless for what leads outside."""
    pairs = [
        ("folder", "to-outside"),
        ("file", "to-secret"),
        ("plain", "hard"),
        ("quiet", "fifo"),
        ("deep/a", "deep/b"),
    ]
    names = [str(root / name) for pair in pairs for name in pair]
    environ = {**os.environ, "RACE_PARENT": str(os.getpid())}
    process = subprocess.Popen([sys.executable, "-c", _SWAP, *names], env=environ, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


def arena(top: Path) -> Path:
    """A workspace whose every harmless thing has a twin that leads outside, beside which it is swapped."""
    top = top.resolve()
    outside, root = top / "outside", top / "workspace"
    (outside / "below").mkdir(parents=True)
    for name in ("secret", "below/secret", ONLY_OUTSIDE):
        (outside / name).write_bytes(SECRET)
    for name in ("folder/below", "deep/a/below", "deep"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("folder/secret", "folder/below/secret", "deep/a/below/secret", "file", "plain", "quiet"):
        (root / name).write_bytes(b"harmless")
    (root / "to-outside").symlink_to("../outside")
    (root / "to-secret").symlink_to("../outside/secret")
    (root / "deep/b").symlink_to("../../outside")
    (root / "hard").hardlink_to(outside / "secret")
    os.mkfifo(root / "fifo")
    return root


def run(root: Path, seconds: float) -> Tally:
    """Ask for everything while it is swapped."""
    tally = Tally()
    paths = ("folder/secret", "folder/below/secret", "file", "plain", "quiet", "deep/a/below/secret", "hard", "fifo")
    with swapping(root):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # Many reads to each of the rest: a write waits for the disk.
            for path in paths * 100:
                _ask(tally, lambda path=path: opener.read(root, path).data)  # type: ignore[misc]
            _ask(tally, lambda: b"".join(archive.pack(root, most_bytes=1 << 20)))
            _ask(tally, lambda: _names(root))
            for path in ("folder/secret", "deep/a/below/secret"):
                _ask(tally, lambda path=path: _write(root, path))  # type: ignore[misc]
    outside = root.parent / "outside"
    found = sorted(str(one.relative_to(outside)) for one in outside.rglob("*"))
    tally.changed_outside += found != ["below", "below/secret", ONLY_OUTSIDE, "secret"]
    tally.changed_outside += any(one.read_bytes() != SECRET for one in outside.rglob("*") if one.is_file())
    return tally


def _ask(tally: Tally, ask: Callable[[], bytes]) -> None:
    tally.opens += 1
    with suppress(CorralError):
        tally.leaks += SECRET in ask()
        tally.answered += 1


def _names(root: Path) -> bytes:
    """A listing leaks where it shows what only lies outside."""
    listed = opener.listing(root, ".", depth=3).entries
    return SECRET if any(entry.path.endswith(ONLY_OUTSIDE) for entry in listed) else b""


def _write(root: Path, path: str) -> bytes:
    incoming = writer.Incoming(root, path)
    try:
        incoming.put(b"harmless")
        incoming.publish(create_only=False)
    finally:
        incoming.close()
    return b""


def main() -> int:
    """The long race."""
    parser = argparse.ArgumentParser(prog="races")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    total = Tally()
    with tempfile.TemporaryDirectory() as top:
        for n in range(given.rounds):
            opener._OPENAT2 = NO_OPENAT2 if n % 4 == 3 else 437  # one round in four step by step
            place = Path(top, str(n))
            place.mkdir()
            one = run(arena(place), given.seconds)
            for name in ("opens", "answered", "leaks", "changed_outside"):
                setattr(total, name, getattr(total, name) + getattr(one, name))
            sys.stdout.write(f"round {n + 1}: {one}\n")
            sys.stdout.flush()
    sys.stdout.write(f"together: {total}\n")
    return 1 if total.leaks or total.changed_outside or not total.answered else 0


if __name__ == "__main__":
    sys.exit(main())
