"""Opens the database and its transactions; hides what differs between SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

from shared.domain.errors import Unavailable

Connection = sa.Connection
DatabaseError = DBAPIError


_LOOK_S: Final = 0.0015
"""Between two tries for SQLite's write lock; a commit takes about as long."""


_IDLE_IN_TRANSACTION: Final = "25P03"

_AWAY_ON_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
    }
)
"""Primary result codes; SQLite's driver calls a faulty statement operational too."""


class DatabaseAway(Unavailable):
    """The database cannot be reached, or is too busy to answer in time."""

    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database cannot be reached. Nothing was changed; repeat the request in a moment.")


class Database:
    """One database, its pool of connections, and its transactions.

    `timeout_s` bounds how long a statement may wait for a lock or a connection.
    """

    def __init__(self, url: str, *, pool_size: int = 8, timeout_s: float = 5.0) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._timeout_s = timeout_s
        make = _sqlite if self.is_sqlite else _postgresql
        self.engine = make(self.url, pool_size, timeout_s)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A writing transaction; committed when the block ends, rolled back when it raises.

        On SQLite it takes the write lock at once (BEGIN IMMEDIATE), so that no statement inside it
        can fail for want of the lock; keep everything but SQL out of the block.

        Raises:
            DatabaseAway: no connection, or the lock was not to be had in time.
        """
        with _told(), self.engine.connect() as connection:
            if self.is_sqlite:
                _take_write_lock(connection, self._timeout_s)
            with connection.begin() if not self.is_sqlite else _sqlite_transaction(connection):
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A reading transaction: one consistent snapshot on SQLite, READ COMMITTED on PostgreSQL.

        Raises:
            DatabaseAway: no connection.
        """
        with _told(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    connection.exec_driver_sql("ROLLBACK")
            else:
                with connection.begin():
                    yield connection

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sa.exc.TimeoutError) as problem:
        if is_away(problem):
            raise DatabaseAway from problem
        raise


def is_away(problem: Exception) -> bool:
    """Whether the end of a transaction turns what was raised inside its block into `DatabaseAway`: trying again helps.

    A statement that is wrong would be wrong again.
    """
    match problem:
        case sa.exc.TimeoutError():
            return True
        case OperationalError(orig=sqlite3.Error() as told) | InterfaceError(orig=sqlite3.Error() as told):
            return getattr(told, "sqlite_errorcode", 0) & 0xFF in _AWAY_ON_SQLITE
        case OperationalError() | InterfaceError():
            return True
        case InternalError():
            # A process that was stopped in its transaction finds that PostgreSQL ended it; psycopg calls that internal.
            state = getattr(problem.orig, "sqlstate", None)
            return problem.connection_invalidated or state == _IDLE_IN_TRANSACTION
    return False


def _take_write_lock(connection: Connection, timeout_s: float) -> None:
    """BEGIN IMMEDIATE, asking again every millisecond or two.

    SQLite's own busy handler sleeps up to 100 ms between two looks: whoever came late to a busy file waited
    hundreds of milliseconds while others took the lock a dozen times.
    """
    raw = connection.connection.cursor()
    deadline = time.monotonic() + timeout_s
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as busy:
                if busy.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise DatabaseAway from busy
                time.sleep(_LOOK_S)
            else:
                return
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(timeout_s * 1000)}")


@contextmanager
def _sqlite_transaction(connection: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _sqlite(url: sa.URL, pool_size: int, timeout_s: float) -> sa.Engine:
    path = url.database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=timeout_s,
        # Each connection has a page cache of its own: the fewer are in use, the smaller the process.
        pool_use_lifo=True,
        connect_args={"timeout": timeout_s, "check_same_thread": False},
    )

    def on_connect(raw: sqlite3.Connection, _: object) -> None:
        # FULL: what was accepted survives a power cut; at 50 commits a second it costs next to nothing.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"):
            raw.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", on_connect)
    return engine


def _postgresql(url: sa.URL, pool_size: int, timeout_s: float) -> sa.Engine:
    # A transaction whose process was stopped must not hold a head row's lock for ever: takeover waits for it.
    options = f"-c idle_in_transaction_session_timeout={int(timeout_s * 1000)} -c lock_timeout={int(timeout_s * 1000)}"
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return sa.create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=timeout_s,
        pool_pre_ping=True,
        connect_args={"connect_timeout": max(1, int(timeout_s)), "options": options, **_partition(timeout_s)},
    )


def _partition(timeout_s: float) -> dict[str, int]:
    """How soon a database that a network swallowed counts as away: by default the kernel takes a quarter of an hour.

    Over TCP only; a local socket knows its other end.
    """
    return {
        "tcp_user_timeout": int(2000 * timeout_s),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
