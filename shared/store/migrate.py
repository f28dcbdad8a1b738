"""Brings a database to this release's tables, safely beside other upgrades and a release that still serves.

`docs/migrations.md` has the rules a migration must keep.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import event
from sqlalchemy.exc import InterfaceError, OperationalError

from shared.domain.errors import Unavailable
from shared.store.database import DatabaseAway
from shared.store.usage_tables import metadata

SCRIPTS = Path(__file__).resolve().parents[2] / "migrations"
"""Beside `shared`, in a checkout as in an installed wheel."""

_BEGIN = "corral_begin"
_alembic = threading.Lock()  # its `context` and `op` are globals of the process

LOCK_KEY = 0x636F7272616C  # "corral": the advisory lock every upgrade of this database takes
_POLL_S = 0.1
# A migration that waits for a table lock makes every later query on that table wait behind it.
_TABLE_LOCK_MS = 2000
_LOCK_NOT_AVAILABLE = "55P03"


class UpgradeUnderWay(Unavailable):
    """Another process holds the migration lock, or traffic the lock of a table, for longer than we would wait."""

    code = "upgrade_under_way"

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            f"The database could not be locked for its upgrade within {wait_s:g} s. Another upgrade is running, or a "
            "transaction has been open for that long. Nothing is half-made; run it again.",
            wait_s=wait_s,
        )


def upgrade(url: str, *, wait_s: float = 300.0, versions: Sequence[Path] = ()) -> str:
    """Apply what is missing, and give the revision the database is at afterwards.

    Safe to repeat and to run from many processes at once: one applies, the others wait (at most `wait_s`)
    and find nothing to do. A database of a later release is left as it is. `versions` are more folders of
    migrations, for rehearsals.

    Raises:
        UpgradeUnderWay: the lock was not to be had in time.
        DatabaseAway: the database cannot be reached.
    """
    deadline = time.monotonic() + wait_s
    with _engine(url) as engine, _alone(engine, wait_s, deadline):
        while not _try_upgrade(engine, versions):
            _pause(wait_s, deadline)
        revision = _revision(engine)
    assert revision is not None  # noqa: S101 - an upgrade that applied nothing would have raised
    return revision


def current(url: str) -> str | None:
    """The revision the database is at, None where it has no tables yet. Changes nothing.

    Raises:
        DatabaseAway: the database cannot be reached.
    """
    path = sa.make_url(url).database
    if _is_sqlite(url) and not (path and Path(path).is_file()):
        return None
    with _engine(url) as engine:
        return _revision(engine)


def is_current(url: str) -> bool:
    """Whether this release may serve on the database: it is at this release's revision, or at a later release's.

    Raises:
        DatabaseAway: the database cannot be reached.
    """
    revision = current(url)
    scripts = ScriptDirectory.from_config(_config())
    return revision is not None and (revision == scripts.get_current_head() or not _is_known(scripts, revision))


def drift(url: str) -> list[str]:
    """What `tables.py` says and the migrated database does not, and the other way round; empty when they agree."""
    with _engine(url) as engine, engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [repr(difference) for difference in compare_metadata(context, metadata)]


def _try_upgrade(engine: sa.Engine, versions: Sequence[Path]) -> bool:
    """False when traffic held a table for too long; what was applied before stays."""
    config = _config(versions)
    revision = _revision(engine)
    if revision is not None and not _is_known(ScriptDirectory.from_config(config), revision):
        return True
    try:
        _become_concurrent(engine)
        with engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection:
            config.attributes["connection"] = connection
            with _alembic:
                command.upgrade(config, "head")
    except OperationalError as problem:
        if _waited_for_lock(problem):
            return False
        raise
    return True


def _become_concurrent(engine: sa.Engine) -> None:
    """Readers beside a writer, from the first moment on; SQLite refuses the switch while anybody else looks."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(**{_BEGIN: ""}) as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _waited_for_lock(problem: OperationalError | InterfaceError) -> bool:
    code = str(getattr(problem.orig, "sqlstate", None) or getattr(problem.orig, "sqlite_errorname", ""))
    return code == _LOCK_NOT_AVAILABLE or code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


@contextmanager
def _alone(engine: sa.Engine, wait_s: float, deadline: float) -> Iterator[None]:
    """Hold the upgrade lock of a PostgreSQL database; on SQLite the write lock of the transaction is enough."""
    if engine.dialect.name == "sqlite":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Asked again and again instead of waiting inside the statement: a waiting statement holds a snapshot,
        # and CREATE INDEX CONCURRENTLY in the upgrade that holds the lock would wait for that snapshot to end.
        while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(LOCK_KEY))):
            _pause(wait_s, deadline)
        try:
            yield
        finally:
            # The lock belongs to the connection, not to a transaction.
            connection.execute(sa.select(sa.func.pg_advisory_unlock(LOCK_KEY)))


def _pause(wait_s: float, deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise UpgradeUnderWay(wait_s)
    time.sleep(_POLL_S)


def _config(versions: Sequence[Path] = ()) -> Config:
    config = Config()
    # Values go through ConfigParser, to which a percent sign is syntax.
    folders = [SCRIPTS / "versions", *versions]
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(folder).replace("%", "%%") for folder in folders))
    return config


def _is_known(scripts: ScriptDirectory, revision: str) -> bool:
    try:
        return scripts.get_revision(revision) is not None
    except CommandError:
        return False


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _is_sqlite(url: str) -> bool:
    return sa.make_url(url).get_backend_name() == "sqlite"


@contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    # Not the engine of `database.py`: a migration has other time-outs and, on SQLite, no foreign keys.
    engine = _sqlite(url) if _is_sqlite(url) else _postgresql(url)
    try:
        yield engine
    except (OperationalError, InterfaceError) as problem:
        # SQLite calls a faulty statement operational too; that one must not be told as "try again".
        if problem.statement is None or problem.connection_invalidated or _waited_for_lock(problem):
            raise DatabaseAway from problem
        raise
    finally:
        engine.dispose()


def _postgresql(url: str) -> sa.Engine:
    options = f"-c lock_timeout={_TABLE_LOCK_MS}"
    address = sa.make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    return sa.create_engine(address, poolclass=sa.NullPool, connect_args={"connect_timeout": 5, "options": options})


def _sqlite(url: str) -> sa.Engine:
    path = sa.make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": _TABLE_LOCK_MS / 1000})

    def on_connect(raw: Any, _: object) -> None:
        # The driver must not begin transactions of its own: it would not take DDL into them.
        raw.isolation_level = None
        # Rebuilding a table drops the old one, which with foreign keys on would delete all that refers to it.
        raw.execute("PRAGMA foreign_keys=OFF")

    def on_begin(connection: sa.Connection) -> None:
        statement = connection.get_execution_options().get(_BEGIN, "BEGIN")
        if statement:
            connection.exec_driver_sql(statement)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
