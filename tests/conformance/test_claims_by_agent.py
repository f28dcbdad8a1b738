"""Who may claim what, on both databases: only a worker that has the agent, and a place in line only behind such."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.domain import clock
from shared.domain.input import InputKind, Wish
from shared.domain.session import SessionStatus
from shared.store import heads, inputs, ownership
from shared.store.database import Database
from tests.fixtures.seeds import SPEC, Seeds, plant

MISSING = {"ready": False, "version": None, "problem": "demo is not on PATH."}
OTHER = replace(SPEC, agent="other")


@pytest.fixture
def seeds(database_url: str) -> Iterator[Seeds]:
    database = Database(database_url)
    yield plant(database)
    database.close()


@pytest.mark.parametrize("told", [{}, {"demo": MISSING}, {"other": {"ready": True}}], ids=["nothing", "no", "another"])
def test_a_worker_without_the_agent_claims_nothing_and_sees_nothing_wait(seeds: Seeds, told) -> None:
    seeds.session()
    lame, able = seeds.worker("lame", agents=told), seeds.worker("able")

    with seeds.database.write() as connection:
        assert ownership.claim(connection, lame, "vol") is None
        assert ownership.waiting(connection, lame, "vol", 1) == []
        assert len(ownership.waiting(connection, able, "vol", 1)) == 1
        assert ownership.claim(connection, able, "vol") is not None


def test_an_older_session_with_another_agent_holds_nobody_up(seeds: Seeds) -> None:
    seeds.session(OTHER)
    ours, worker = seeds.session(), seeds.worker()

    with seeds.database.write() as connection:
        head = ownership.claim(connection, worker, "vol")

    assert head is not None
    assert head.session == ours


def test_what_no_live_worker_can_host_has_no_place_in_the_line(seeds: Seeds) -> None:
    stranded, hopeless, mine = seeds.session(), seeds.session(OTHER), seeds.session()
    seeds.worker(agents={"demo": {"ready": True}, "other": MISSING})
    with seeds.database.write() as connection:
        heads.set_status(connection, stranded, SessionStatus.STRANDED)

        assert heads.queue_position(connection, mine) == 0
        assert heads.queue_position(connection, hopeless) == 0


def test_a_session_handed_back_before_it_came_up_still_ends_at_its_start_limit(seeds: Seeds) -> None:
    session, worker = seeds.session(), seeds.worker()
    moment = clock.now()
    with seeds.database.write() as connection:
        head = ownership.claim(connection, worker, "vol")
        assert head is not None
        assert ownership.hand_over(connection, session, head.epoch, SessionStatus.STARTING, moment)
        connection.execute(heads.heads.update().values(start_by=moment))

        assert [one.session for one in ownership.past_start(connection, clock.now(), 10)] == [session]


def test_only_sessions_nobody_on_their_volume_can_start_lack_their_agent(seeds: Seeds) -> None:
    # One more, that never came up, has its own deadline.
    _, parked, elsewhere = seeds.session(), seeds.session(), seeds.session()
    with seeds.database.write() as connection:
        for session, volume in ((parked, "vol"), (elsewhere, "far")):
            heads.set_status(connection, session, SessionStatus.PARKED)
            inputs.put(connection, Wish(session, InputKind.MODE), clock.now())
            row = heads.heads.update().where(heads.heads.c.session_id == session)
            connection.execute(row.values(volume_id=volume))

        def lack(**lacking) -> list[str]:
            return [one for one, _ in ownership.unhosted_without_agent(connection, lacking, 10)]

        assert lack(vol={"demo"}, far=frozenset()) == [parked]
        assert sorted(lack(vol={"demo"}, far={"demo", "other"})) == sorted([parked, elsewhere])
        assert lack(vol={"other"}, far=frozenset()) == []
        assert lack() == []
