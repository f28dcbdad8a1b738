"""The SQL threads: what waits together is committed together, and one's trouble is not the others'."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import pytest
import sqlalchemy as sa

from shared.domain.ids import mint_incarnation
from shared.domain.webhook import LaneKey
from shared.store import lanes
from shared.store.database import Database, DatabaseAway
from shared.store.lanes import LaneMove
from workers.delivery.writer import LaneWrite, SqlThread

ME = mint_incarnation()


@pytest.fixture
def database(sqlite_url):
    made = Database(sqlite_url, timeout_s=0.1)
    yield made
    made.close()


def put(name):
    def work(connection):
        connection.execute(
            sa.text("INSERT INTO tenants (id, name, callback_secret, created_at) VALUES (:n, :n, '', '2026-01-01')"),
            {"n": name},
        )
        return name

    return work


def names(database):
    with database.read() as connection:
        return set(connection.execute(sa.text("SELECT id FROM tenants")).scalars())


def test_what_waits_together_is_committed_together(database):
    commits = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *args: commits.append(args[2]))

    async def scenario(writer):
        return await asyncio.gather(*(writer.run(put(f"ten_{number}")) for number in range(50)))

    with SqlThread(database, ME, writes=True, gap_s=0.05) as writer:
        asyncio.run(scenario(writer))
        done = asyncio.run(scenario_of(writer, [put(f"ten_more_{number}") for number in range(50)]))

    assert len(done) == 50
    assert sum(statement == "COMMIT" for statement in commits) <= 6


async def scenario_of(thread, works):
    return await asyncio.gather(*(thread.run(work) for work in works), return_exceptions=True)


def test_a_job_that_fails_takes_no_other_with_it(database):
    def broken(_):
        raise ZeroDivisionError

    with SqlThread(database, ME, writes=True) as writer:
        answers = asyncio.run(scenario_of(writer, [put("ten_a"), broken, put("ten_b"), put("ten_a"), put("ten_c")]))

    assert [type(answer).__name__ for answer in answers] == ["str", "ZeroDivisionError", "str", "IntegrityError", "str"]
    assert names(database) == {"ten_a", "ten_b", "ten_c"}


def test_a_writer_goes_on_trying_while_the_database_is_locked_and_a_reader_tells(database):
    async def scenario(writer, locked):
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            written = group.create_task(writer.run(put("ten_late")))
            await asyncio.sleep(0.5)
            assert not written.done()
            locked.execute("ROLLBACK")
        return written.result()

    with (
        SqlThread(database, ME, writes=True) as writer,
        contextlib.closing(sqlite3.connect(database.url.database, isolation_level=None)) as locked,
    ):
        locked.execute("BEGIN IMMEDIATE")
        assert asyncio.run(scenario(writer, locked)) == "ten_late"

    assert names(database) == {"ten_late"}


def test_a_writer_that_closes_tries_once_more_and_tells(database):
    async def scenario():
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            with SqlThread(database, ME, writes=True) as writer:
                waiting = group.create_task(scenario_of(writer, [put("ten_never")]))
                await asyncio.sleep(0.2)
        return waiting.result()

    with contextlib.closing(sqlite3.connect(database.url.database, isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        [answer] = asyncio.run(scenario())

    assert isinstance(answer, DatabaseAway)


def test_of_lanes_written_together_only_those_still_held_are(sqlite_url):
    from tests.fixtures.delivering import house  # noqa: PLC0415

    with house(sqlite_url) as home:
        endpoint = home.endpoint("https://x.test/")
        mine, lost = (LaneKey(endpoint.id, home.session()) for _ in range(2))
        with home.database.write() as connection:
            for key in (mine, lost):
                lanes.ensure(connection, key, cursor=0, due_at=None)
            lanes.claim(connection, mine, ME)
            lanes.claim(connection, lost, mint_incarnation())

        async def scenario(writer):
            writes = [LaneWrite(LaneMove(key, 1, 7, 7, None)) for key in (mine, lost)]
            return await asyncio.gather(*map(writer.write, writes))

        with SqlThread(home.database, ME, writes=True) as writer:
            assert asyncio.run(scenario(writer)) == [True, False]
        with home.database.read() as connection:
            cursors = {key: row.cursor for key, row in lanes.found(connection, [mine, lost]).items()}
    assert cursors == {mine: 7, lost: 0}
