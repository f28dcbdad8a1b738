"""Times a session's clone of a 10,000-file repository against raw git in the same run: `python -m bench.workspaces`.

Warm is a clone whose mirror is there already; the server is asked each time. Raw are `git clone` from the same server,
and from a local repository without hard links, which is the least that files of one's own can cost.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from shared.domain.ids import mint_session
from shared.workspaces.git import Git
from shared.workspaces.kind import Volume
from shared.workspaces.volume import open_volume
from tests.fixtures.git_server import GitServer, git, serving

FILES = 10_000
ROUNDS = 3
LIMIT = 1.5
"""A warm clone may take this many times what raw git takes from the same server."""


def run(top: Path, server: GitServer) -> float:
    """Print the medians; the ratio of a warm clone to raw git from the server."""
    server.make("large", {f"part{n % 100}/file{n}.txt": f"plum {n}\n" * 20 for n in range(FILES)})
    volume = replace(open_volume(top / "volume"), git=server.rules())
    url, ca = server.url("large"), str(server.ca_file)
    mirror_s = timed(lambda: clone(volume, url))
    ways: dict[str, Callable[[int], object]] = {
        "warm": lambda _: clone(volume, url),
        "raw, server": lambda n: git("clone", "-q", url, f"raw{n}", cwd=top, GIT_SSL_CAINFO=ca),
        "raw, local": lambda n: git(
            "clone", "-q", "--no-hardlinks", str(server.folder / "large.git"), f"local{n}", cwd=top
        ),
    }
    taken_s: dict[str, list[float]] = {name: [] for name in ways}
    # In turns, so that what else the machine does falls on all of them.
    for n in range(ROUNDS):
        for name, way in ways.items():
            taken_s[name].append(timed(lambda way=way, n=n: way(n)))  # type: ignore[misc]
    medians = {"cold": mirror_s} | {name: statistics.median(times) for name, times in taken_s.items()}
    for name, median_s in medians.items():
        print(f"{name:12} {median_s * 1e3:8.0f} ms")
    return medians["warm"] / medians["raw, server"]


def clone(volume: Volume, url: str) -> None:
    """One session's workspace."""
    kind = Git()
    kind.open(mint_session(), kind.check({"url": url}, ()), volume)


def timed(work: Callable[[], object]) -> float:
    """Seconds it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure; exit status 1 where the ratio is above its limit."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        ratio = run(Path(folder), server)
    print(f"warm / raw from the same server: {ratio:.2f} (at most {LIMIT})")
    sys.exit(ratio > LIMIT)


if __name__ == "__main__":
    main()
