"""Migrations: complete, repeatable, safe beside each other and beside a release that serves, on both databases."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from shared.domain.clock import now
from shared.store import migrate, tables
from shared.store.database import Database, DatabaseAway
from tests.fixtures.waiting import eventually

HEAD = max(file.name for file in (migrate.SCRIPTS / "versions").glob("[0-9]*.py"))[:4]
"""The newest revision."""

LATER = f"""
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("colour", sa.Text()))
    op.create_index("ix_tenants_colour", "tenants", ["colour"])
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("ask_timeout_s", nullable=True)
"""

REBUILD = """
    with op.batch_alter_table("tenants", recreate="always") as tenants:
        tenants.alter_column("name", nullable=True)
"""

CONCURRENT = """
    with op.get_context().autocommit_block():
        op.drop_index("ix_tenants_name", "tenants", if_exists=True, postgresql_concurrently=True)
        op.create_index("ix_tenants_name", "tenants", ["name"], postgresql_concurrently=True)
"""


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """A folder with the migration of a later release."""
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "9001_later.py").write_text(LATER, encoding="utf-8")
    return folder


def tenant(name: str) -> dict[str, object]:
    """A row of tenants, as every release writes it."""
    return {"id": name, "name": name, "callback_secret": "sealed", "created_at": now()}


def test_an_upgraded_database_has_exactly_the_tables_of_the_code(bare_database_url):
    assert migrate.upgrade(bare_database_url) == HEAD

    assert migrate.drift(bare_database_url) == []


def test_a_difference_between_database_and_code_is_told(database_url):
    with Database(database_url).write() as c:
        c.exec_driver_sql("DROP INDEX ix_turns_session_status")

    assert any("ix_turns_session_status" in difference for difference in migrate.drift(database_url))


def test_an_empty_database_is_at_no_revision(bare_database_url):
    assert migrate.current(bare_database_url) is None
    assert not migrate.is_current(bare_database_url)


def test_asking_for_the_revision_makes_no_file(bare_sqlite_url, tmp_path):
    migrate.current(bare_sqlite_url)

    assert list(tmp_path.iterdir()) == []


def test_an_upgrade_may_be_repeated(database_url):
    assert migrate.upgrade(database_url) == migrate.current(database_url)
    assert migrate.is_current(database_url)


def test_a_path_with_a_percent_sign_and_a_space_is_no_trouble(tmp_path):
    url = f"sqlite:///{tmp_path}/50%20 off/corral.db"

    migrate.upgrade(url)

    assert migrate.is_current(url)


def test_upgrades_by_several_processes_at_once_leave_one_whole_database(bare_database_url):
    program = f"from shared.store import migrate; print(migrate.upgrade({bare_database_url!r}))"
    argv = [sys.executable, "-c", program]
    root = Path(migrate.__file__).parents[2]

    processes = [subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [HEAD] * 3
    assert migrate.drift(bare_database_url) == []


def test_upgrades_by_several_threads_at_once_leave_one_whole_database(bare_database_url):
    with ThreadPoolExecutor(8) as pool:
        revisions = list(pool.map(migrate.upgrade, [bare_database_url] * 8))

    assert set(revisions) == {HEAD}
    assert migrate.drift(bare_database_url) == []


def test_an_upgrade_leaves_no_lock_and_no_connection_behind(bare_postgres_url):
    migrate.upgrade(bare_postgres_url)

    with psycopg.connect(bare_postgres_url) as c:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        eventually(lambda: c.execute(others).fetchone() == (0,), about="no other connection")
        assert c.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


def test_an_upgrade_that_cannot_have_the_lock_gives_up_in_time(bare_postgres_url):
    with psycopg.connect(bare_postgres_url) as c:
        c.execute("SELECT pg_advisory_lock(%s)", (migrate.LOCK_KEY,))

        with pytest.raises(migrate.UpgradeUnderWay):
            migrate.upgrade(bare_postgres_url, wait_s=0.3)

    assert migrate.current(bare_postgres_url) is None


def test_an_upgrade_that_cannot_have_the_write_lock_gives_up_in_time(sqlite_url, later):
    with Database(sqlite_url).write(), pytest.raises(migrate.UpgradeUnderWay):
        migrate.upgrade(sqlite_url, wait_s=0.3, versions=[later])

    assert migrate.current(sqlite_url) == HEAD


def test_a_database_that_is_away_is_told_as_such():
    with pytest.raises(DatabaseAway):
        migrate.upgrade("postgresql://nobody@127.0.0.1:1/none", wait_s=1)


def test_the_release_before_goes_on_serving_on_an_upgraded_database(database_url, later):
    migrate.upgrade(database_url, versions=[later])

    assert migrate.is_current(database_url)
    assert migrate.upgrade(database_url) == "9001"
    with Database(database_url).write() as c:
        c.execute(sa.insert(tables.tenants).values(tenant("ten_old")))
        assert c.execute(sa.select(tables.tenants)).one().name == "ten_old"


def test_a_migration_that_fails_leaves_nothing_behind(database_url, later):
    (later / "9001_later.py").write_text(LATER + '    op.execute("SELECT nonsense")\n', encoding="utf-8")

    with pytest.raises(sa.exc.DBAPIError):
        migrate.upgrade(database_url, versions=[later])

    assert migrate.current(database_url) == HEAD
    assert migrate.drift(database_url) == []


def test_rebuilding_a_table_on_sqlite_keeps_the_rows_that_refer_to_it(sqlite_url, later):
    with Database(sqlite_url).write() as c:
        c.execute(sa.insert(tables.tenants).values(tenant("ten_1")))
        keys = {"id": "key_1", "tenant_id": "ten_1", "name": "k", "hash": "h", "scopes": [], "created_at": now()}
        c.execute(sa.insert(tables.keys).values(keys))
    (later / "9001_later.py").write_text(LATER + REBUILD, encoding="utf-8")

    migrate.upgrade(sqlite_url, versions=[later])

    with Database(sqlite_url).read() as c:
        assert c.execute(sa.select(tables.keys.c.id)).scalars().all() == ["key_1"]


def test_traffic_of_the_release_before_goes_on_while_an_upgrade_runs(database_url, later):
    db, stop, written = Database(database_url), threading.Event(), []

    def traffic() -> None:
        while not stop.is_set():
            with db.write() as c:
                c.execute(sa.insert(tables.tenants).values(tenant(f"ten_{len(written)}")))
                c.execute(sa.select(sa.func.count()).select_from(tables.sessions)).scalar_one()
            written.append(len(written))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(traffic)
        eventually(lambda: len(written) > 20, about="traffic before")
        migrate.upgrade(database_url, versions=[later])
        before = len(written)
        eventually(lambda: len(written) > before + 20 or running.done(), about="traffic after")
        stop.set()
        running.result(10)

    with db.read() as c:
        assert c.execute(sa.select(sa.func.count()).select_from(tables.tenants)).scalar_one() == len(written)
    assert migrate.current(database_url) == "9001"


def test_an_upgrade_waits_for_a_long_transaction_without_holding_up_the_others(postgres_url, later):
    db = Database(postgres_url)
    with ThreadPoolExecutor(1) as pool:
        with psycopg.connect(postgres_url) as long:
            long.execute("SELECT count(*) FROM tenants")
            upgrade = pool.submit(migrate.upgrade, postgres_url, versions=[later])
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            with psycopg.connect(postgres_url, autocommit=True) as onlooker:
                eventually(lambda: onlooker.execute(waiting).fetchone() != (0,), about="the upgrade waits")
            # Behind the waiting ALTER TABLE; its own lock time-out lets this one through within 5 s.
            with db.write() as c:
                c.execute(sa.insert(tables.tenants).values(tenant("ten_1")))
            assert not upgrade.done()
        assert upgrade.result(30) == "9001"


def test_an_index_built_beside_traffic_is_whole_although_the_first_try_had_to_give_up(postgres_url, later):
    (later / "9001_later.py").write_text(LATER[: LATER.index("    op.add_column")] + CONCURRENT, encoding="utf-8")
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"

    with ThreadPoolExecutor(2) as pool, psycopg.connect(postgres_url, autocommit=True) as onlooker:
        with psycopg.connect(postgres_url) as long:
            long.execute("INSERT INTO tenants VALUES ('ten_1', 'n', 's', now())")
            upgrades = [pool.submit(migrate.upgrade, postgres_url, versions=[later]) for _ in range(2)]
            eventually(lambda: onlooker.execute(invalid).fetchone() == (1,), about="the index is begun")
            given_up = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND state = 'active'"
            eventually(lambda: onlooker.execute(given_up).fetchone() == (0,), about="the first try gave up")
        assert [upgrade.result(60) for upgrade in upgrades] == ["9001", "9001"]
        assert onlooker.execute(invalid).fetchone() == (0,)
        assert onlooker.execute("SELECT count(*) FROM pg_indexes WHERE indexname = 'ix_tenants_name'").fetchone() == (
            1,
        )


def test_no_migration_imports_what_may_be_another_thing_tomorrow():
    files = sorted((migrate.SCRIPTS / "versions").glob("[0-9]*.py"))
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}

    assert files
    assert not [name for name, text in texts.items() if "shared" in text]
