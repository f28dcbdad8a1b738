"""Times the store's most frequent statements beside 20,000 sessions: `python -m bench.store [database URL]`.

Without a URL on a SQLite file of its own; a URL must name an empty database.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.domain.ids import Incarnation, SessionId, TenantId, mint_session
from shared.domain.session import Mode, SessionSpec
from shared.store import heads, idempotency, migrate, sessions, tenants, turns, workers
from shared.store.database import Connection, Database
from shared.store.sealing import Sealer

SESSIONS = 20_000
ROUNDS = 300
T0 = datetime(2026, 1, 1, tzinfo=UTC)
TENANT = TenantId("ten_bench")
ME = Incarnation("wkr_bench")
SEALER = Sealer("a secret key of more than thirty-two characters")


def fill(c: Connection, first: int, count: int) -> SessionId:
    """`count` sessions; one in a hundred has the metadata entry that is looked for."""
    last = mint_session()
    for n in range(first, first + count):
        last = mint_session()
        metadata = {"team": "rare" if n % 100 == 0 else "common", "n": str(n)}
        spec = SessionSpec("demo", "folder", {}, Mode.INTERACTIVE, title=f"task {n}", metadata=metadata)
        at = T0 + timedelta(seconds=n)
        sessions.create(c, spec, id=last, tenant=TENANT, key=None, sealer=SEALER, at=at)
        heads.create(c, last, TENANT, portable=False, start_by=None, end_by=None)
    return last


def measure(name: str, database: Database, work: Callable[[Connection, int], object]) -> None:
    """Print median and 99th percentile of `work` in a writing transaction of its own, in milliseconds."""
    taken_s = []
    for n in range(ROUNDS):
        began = time.perf_counter()
        with database.write() as c:
            work(c, n)
        taken_s.append(time.perf_counter() - began)
    taken_s.sort()
    print(f"{name:32} {taken_s[ROUNDS // 2] * 1e3:8.2f} {taken_s[ROUNDS * 99 // 100] * 1e3:8.2f}")


def once(c: Connection, n: int) -> None:
    """An idempotency key from begin to finish."""
    idempotency.begin(c, TENANT, "POST /bench", str(n), "h")
    idempotency.finish(c, TENANT, "POST /bench", str(n), 201, "{}")


def run(url: str) -> None:
    """Fill the database, then measure."""
    migrate.upgrade(url)
    database = Database(url)
    with database.write() as c:
        tenants.create(c, TENANT, "bench", SEALER, T0)
        told = {"volume_id": None, "address": None, "capacity": 10**6, "agents": {}, "at": T0}
        workers.register(c, incarnation=ME, name="bench", role="worker", **told)
    one = SessionId("")
    for first in range(0, SESSIONS, 500):
        with database.write() as c:
            one = fill(c, first, 500)
    print(f"{database.url.get_backend_name()}, {SESSIONS} sessions{'':12} p50 ms   p99 ms")
    measure("create a session", database, lambda c, n: fill(c, SESSIONS + n, 1))
    measure("get a session", database, lambda c, _: sessions.get(c, TENANT, one, SEALER))
    measure("first page of 50", database, lambda c, _: sessions.page(c, TENANT, limit=50))
    measure("page of 50 by metadata (1 %)", database, lambda c, _: sessions.page(c, TENANT, metadata={"team": "rare"}))
    measure("page of 50 by title text", database, lambda c, _: sessions.page(c, TENANT, q="TASK 1999"))
    measure("next position in the line", database, lambda c, _: turns.next_position(c, one))
    measure("idempotency key", database, once)
    measure("take a slot", database, lambda c, _: workers.take_slot(c, ME))
    measure("beat", database, lambda c, _: workers.beat(c, ME, T0))
    database.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(f"sqlite:///{Path(folder) / 'bench.db'}")
