"""The journal: order, groups, vetoes, fences, culprits, and a database that goes away in the worst moment."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager

import pytest

from shared.domain.event import Draft, EventType
from shared.domain.session import SessionStatus
from shared.store import events, heads, ownership
from shared.store.database import Database, DatabaseAway
from tests.fixtures.seeds import plant
from tests.fixtures.waiting import eventually_async
from workers.host import journal as journals
from workers.host.commits import Fenced, NotStored, Vetoed
from workers.host.journal import Journal


class Bench:
    """A database with owned sessions, and what a journal did with it."""

    def __init__(self, url):
        self.database = Database(url)
        self.seeds = plant(self.database)
        self.worker = self.seeds.worker(capacity=100)
        self.fenced = []
        self.published = []

    def session(self):
        session = self.seeds.session()
        with self.database.write() as connection:
            assert ownership.claim(connection, self.worker, "vol", session=session).epoch == 1
        return session

    def texts(self, session):
        with self.database.read() as connection:
            found = events.between(connection, session, 0, 1_000_000)
        assert [event.seq for event in found] == list(range(1, len(found) + 1))
        return [json.loads(event.data).get("text", event.type) for event in found]

    @asynccontextmanager
    async def journal(self, database=None, commit_s=0.02):
        journal = Journal(
            database or self.database,
            self.published.extend,
            commit_s=commit_s,
            on_fenced=lambda session, epoch: self.fenced.append((session, epoch)),
        )
        async with journal:
            yield journal


@pytest.fixture
def bench(database_url):
    made = Bench(database_url)
    yield made
    made.database.close()


def chunk(text):
    return Draft(EventType.TOOL_OUTPUT_CHUNK, {"tool_call_id": "c", "text": text})


class Flaky:
    """A database that says it is away: before the commits in `before`, after those in `after` (1 is the first)."""

    def __init__(self, database, *, before=(), after=()):
        self.is_sqlite = database.is_sqlite
        self._database = database
        self._before = before
        self._after = after
        self.tries = 0

    @contextmanager
    def write(self):
        self.tries += 1
        if self.tries in self._before:
            raise DatabaseAway
        with self._database.write() as connection:
            yield connection
        if self.tries in self._after:
            raise DatabaseAway


def test_what_is_put_is_committed_in_order_and_published(bench):
    sessions = [bench.session() for _ in range(3)]

    async def story():
        async with bench.journal() as journal:
            for n in range(300):
                for session in sessions:
                    journal.put(session, 1, [chunk(f"{n}")])
            for session in sessions:
                await journal.flush(session, 1)

    asyncio.run(story())

    for session in sessions:
        assert bench.texts(session) == [f"{n}" for n in range(300)]
        assert [event.seq for event in bench.published if event.session == session] == list(range(1, 301))


def test_a_lone_put_waits_for_nobody(bench):
    session = bench.session()

    async def story():
        async with bench.journal(commit_s=5.0) as journal:
            journal.put(session, 1, [chunk("at once")])
            await eventually_async(lambda: bench.published, timeout_s=2)

    asyncio.run(story())

    assert bench.texts(session) == ["at once"]


def test_puts_close_behind_a_commit_wait_for_company_but_not_one_somebody_waits_for(bench):
    session = bench.session()

    async def story():
        async with bench.journal(commit_s=3600.0) as journal:
            await journal.commit(session, 1, [chunk("1")])
            # What follows an urgent commit is the beginning of something, and does not linger.
            journal.put(session, 1, [chunk("2")])
            await eventually_async(lambda: len(bench.published) == 2)
            journal.put(session, 1, [chunk("3")])
            await asyncio.sleep(0.05)
            lingering = len(bench.published)
            await journal.commit(session, 1, [chunk("4")])
            return lingering

    assert asyncio.run(story()) == 2
    assert bench.texts(session) == ["1", "2", "3", "4"]


def test_events_and_effects_are_committed_together(bench):
    session = bench.session()

    async def story():
        async with bench.journal() as journal:
            await journal.commit(
                session,
                1,
                [chunk("up")],
                [lambda connection: heads.set_status(connection, session, SessionStatus.IDLE)],
            )

    asyncio.run(story())

    with bench.database.read() as connection:
        head = heads.get(connection, session)
    assert (head.status, head.last_seq) == (SessionStatus.IDLE, 1)


def test_a_veto_drops_its_own_put_and_nothing_else(bench):
    one, two = bench.session(), bench.session()

    def veto(_):
        raise Vetoed

    async def story():
        async with bench.journal(commit_s=0.2) as journal:
            await journal.commit(one, 1, [chunk("first")])
            journal.put(one, 1, [chunk("before")])
            journal.put(two, 1, [chunk("beside")])
            with pytest.raises(Vetoed):
                await journal.commit(one, 1, [chunk("vetoed")], [veto])
            await journal.commit(one, 1, [chunk("after")])

    asyncio.run(story())

    assert bench.texts(one) == ["first", "before", "after"]
    assert bench.texts(two) == ["beside"]


def test_a_fenced_session_writes_nothing_and_its_neighbours_go_on(bench):
    lost, kept = bench.session(), bench.session()
    with bench.database.write() as connection:
        ownership.take_over(connection, lost, bench.worker)

    async def story():
        async with bench.journal() as journal:
            journal.put(lost, 1, [chunk("never")])
            await journal.commit(kept, 1, [chunk("kept")])
            with pytest.raises(Fenced):
                await journal.commit(lost, 1, [chunk("never either")])

    asyncio.run(story())

    assert bench.texts(lost) == []
    assert bench.texts(kept) == ["kept"]
    assert set(bench.fenced) == {(lost, 1)}


def test_what_is_dropped_is_not_written_although_it_waits_already(bench):
    session = bench.session()

    async def story():
        async with bench.journal(commit_s=0.3) as journal:
            await journal.commit(session, 1, [chunk("1")])
            journal.put(session, 1, [chunk("2")])
            journal.drop(session, 1)
            with pytest.raises(Fenced):
                await journal.flush(session, 1)

    asyncio.run(story())

    assert bench.texts(session) == ["1"]


def test_a_database_that_is_away_is_waited_for_and_the_order_kept(bench):
    session = bench.session()
    flaky = Flaky(bench.database, before={1, 2, 4})

    async def story():
        async with bench.journal(flaky, commit_s=0.0) as journal:
            for n in range(50):
                journal.put(session, 1, [chunk(f"{n}")])
                await asyncio.sleep(0.001)
            await journal.flush(session, 1)

    asyncio.run(story())

    assert bench.texts(session) == [f"{n}" for n in range(50)]


def test_a_commit_whose_answer_never_came_is_not_written_twice(bench):
    session = bench.session()
    flaky = Flaky(bench.database, after={1, 2})
    ran = []

    async def story():
        async with bench.journal(flaky) as journal:
            await journal.commit(session, 1, [chunk("once")], [lambda _: ran.append(1)])
            await journal.commit(session, 1, [chunk("twice")])

    asyncio.run(story())

    assert bench.texts(session) == ["once", "twice"]
    assert ran == [1]


@pytest.mark.parametrize("culprit", ["an effect the store refuses", "data that is no JSON"])
def test_a_culprit_costs_itself_and_nobody_else(bench, culprit):
    guilty, innocent = bench.session(), bench.session()

    def refuse(connection):
        connection.exec_driver_sql("INSERT INTO turns (id) VALUES ('trn_1')")

    async def story():
        async with bench.journal(commit_s=0.2) as journal:
            await journal.commit(innocent, 1, [chunk("0")])
            for n in range(1, 20):
                journal.put(innocent, 1, [chunk(f"{n}")])
                journal.put(guilty, 1, [chunk(f"{n}")])
                if n == 10 and culprit == "data that is no JSON":
                    journal.put(guilty, 1, [Draft(EventType.MESSAGE, {"text": object()})])
                if n == 10 and culprit != "data that is no JSON":
                    journal.put(guilty, 1, [Draft(EventType.MESSAGE, {"text": "told"})], [refuse])
            await journal.flush(innocent, 1)
            await journal.flush(guilty, 1)

    asyncio.run(story())

    numbers = [f"{n}" for n in range(1, 20)]
    assert bench.texts(innocent) == ["0", *numbers]
    assert bench.texts(guilty) == [*numbers[:10], "error", *numbers[10:]]


def test_of_a_batch_with_one_bad_event_only_that_is_lost(bench):
    session = bench.session()
    batch = [chunk(f"{n}") for n in range(9)]
    # A key twice in the table: refused by both databases.
    batch.insert(4, Draft(EventType.MESSAGE, {"text": "bad"}, turn=object()))

    async def story():
        async with bench.journal() as journal:
            journal.put(session, 1, batch)
            await journal.flush(session, 1)

    asyncio.run(story())

    assert bench.texts(session) == ["0", "1", "2", "3", "error", "4", "5", "6", "7", "8"]


def test_a_reader_is_held_up_while_too_much_waits_and_let_go_when_it_is_less(bench):
    session, other = bench.session(), bench.session()
    flaky = Flaky(bench.database, before={1, 2, 3})

    async def story():
        async with bench.journal(flaky) as journal:
            journal.put(session, 1, [chunk("x")] * (journals.EACH.high_events + 1))
            async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
                held = tasks.create_task(journal.room(session))
                await asyncio.sleep(0.05)
                was_held = not held.done()
                await journal.room(other)
                others_go_on = not held.done()
            return was_held and others_go_on, journal.waiting_events

    was_held, left = asyncio.run(story())

    assert was_held
    assert left <= journals.EACH.low_events


def test_closing_writes_what_waits(bench):
    session = bench.session()

    async def story():
        async with bench.journal(commit_s=60.0) as journal:
            await journal.commit(session, 1, [chunk("1")])
            journal.put(session, 1, [chunk("2")])

    asyncio.run(story())

    assert bench.texts(session) == ["1", "2"]


def test_closing_while_the_database_is_away_gives_up_after_a_while(bench, monkeypatch):
    session = bench.session()
    monkeypatch.setattr(journals, "CLOSE_S", 0.2)
    flaky = Flaky(bench.database, before=range(1, 10_000))

    async def give_up(journal):
        with pytest.raises(NotStored):
            await journal.commit(session, 1, [chunk("never")])

    async def story():
        async with asyncio.TaskGroup() as tasks, bench.journal(flaky) as journal:
            tasks.create_task(give_up(journal))
            await eventually_async(lambda: flaky.tries > 1)

    asyncio.run(story())

    assert bench.texts(session) == []
