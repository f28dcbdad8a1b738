"""A host under load: floods stay in order and in bounds, a database that goes away loses nothing, idle costs little."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shared.domain.session import Limits
from tests.fixtures.hosts import Stage, play
from workers.host import journal

pytestmark = pytest.mark.timeout(120)


def resident_mb() -> float:
    """What this process keeps in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def watched(look, until):
    """The most `look` gives while `until` is awaited."""
    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, look())
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        await until
        watching.cancel()
    return most


def test_a_flood_is_stored_whole_and_in_order_while_memory_stays_bounded(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session()
        await stage.event(session, "session_idle")
        before = resident_mb()
        stage.prompt(session, "flood 10000")
        ended = stage.until(lambda: stage.head(session).status == "idle" and stage.head(session).last_seq > 10_000)
        most = await watched(lambda: stage.host.waiting_events, ended)
        return most, resident_mb() - before, stage.told(session, "tool_output_chunk"), stage.told(session, "turn_ended")

    most, grown_mb, chunks, ended = play(database_url, tmp_path, story)

    written = [chunk["at_ns"] for chunk in chunks]
    assert len(chunks) == 10_000
    assert written == sorted(written)
    assert ended[0]["status"] == "completed"
    # The bound stops readers between two batches of up to 256 lines.
    assert most <= journal.EACH.high_events + 512
    assert grown_mb < 48


def test_floods_of_several_agents_together_stay_within_the_bound_of_all(sqlite_url, tmp_path):
    async def story(stage: Stage):
        sessions = [stage.session(prompt="flood 4000") for _ in range(4)]
        ended = stage.until(lambda: all(stage.told(session, "turn_ended") for session in sessions), timeout_s=60)
        most = await watched(lambda: stage.host.waiting_events, ended)
        return most, [len(stage.told(session, "tool_output_chunk")) for session in sessions]

    most, counts = play(sqlite_url, tmp_path, story)

    assert counts == [4000] * 4
    assert most <= journal.ALL.high_events + 4 * 512


def test_text_that_streams_is_joined_and_nothing_of_it_is_lost(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="stream 200 2")
        await stage.event(session, "turn_ended")
        return stage.log(session)

    log = play(sqlite_url, tmp_path, story)

    chunks = [data["text"] for kind, data in log if kind == "message_chunk"]
    (whole,) = [data["text"] for kind, data in log if kind == "message"]
    assert "".join(chunks) == whole
    assert len(chunks) < 40


def test_a_sqlite_file_somebody_else_locks_for_two_seconds_loses_nothing(sqlite_url, tmp_path):
    path = sqlite_url.removeprefix("sqlite:///")

    async def story(stage: Stage):
        session = stage.session(prompt="rate 200 3")
        await stage.event(session, "tool_output_chunk")
        loop = asyncio.get_running_loop()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = loop.time()
            await stage.until(lambda: loop.time() - began > 2)
            other.execute("ROLLBACK")
        await stage.event(session, "turn_ended")
        return stage.told(session, "tool_output_chunk"), stage.told(session, "turn_ended")

    chunks, ended = play(sqlite_url, tmp_path, story, timeout_s=0.2)

    written = [chunk["at_ns"] for chunk in chunks]
    assert len(chunks) == 600
    assert written == sorted(written)
    assert [turn["status"] for turn in ended] == ["completed"]


def test_a_postgresql_that_hangs_up_on_everybody_loses_nothing(postgres_url, postgres_server, tmp_path):
    import psycopg  # noqa: PLC0415

    async def story(stage: Stage):
        session = stage.session(prompt="rate 200 2")
        await stage.event(session, "tool_output_chunk")
        loop = asyncio.get_running_loop()
        name = stage.database.url.database
        with psycopg.connect(postgres_server, autocommit=True) as admin:
            until = loop.time() + 1
            while loop.time() < until:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
                await asyncio.sleep(0.01)
        await stage.event(session, "turn_ended")
        return stage.told(session, "tool_output_chunk"), stage.told(session, "turn_ended")

    chunks, ended = play(postgres_url, tmp_path, story)

    assert len(chunks) == 400
    assert [turn["status"] for turn in ended] == ["completed"]


def test_a_hundred_idle_sessions_cost_little_memory(sqlite_url, tmp_path):
    async def story(stage: Stage):
        warm = stage.session(limits=Limits(idle_s=600.0))
        await stage.event(warm, "session_idle")
        before = resident_mb()
        sessions = [stage.session(limits=Limits(idle_s=600.0)) for _ in range(100)]
        for session in sessions:
            await stage.event(session, "session_idle", timeout_s=60)
        return resident_mb() - before

    assert play(sqlite_url, tmp_path, story, capacity=101) < 30
