"""Session rows: what a caller set comes back whole, to its tenant only."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from shared.domain.errors import InvalidField, NotFound, VersionMismatch
from shared.domain.ids import Incarnation, KeyId, SessionId
from shared.domain.session import Limits, Mode, OnWorkerLoss, SessionSpec, SessionStatus
from shared.store import blobs, heads, ownership, sessions, tables, transcripts, workers
from shared.store.sealing import SealBroken, Sealer
from shared.store.sessions import UNSET
from tests.fixtures.store_rows import (
    ACME,
    OTHER,
    SEALER,
    T0,
    add_ask,
    add_session,
    add_turn,
    after,
    at_once,
)

FULL = SessionSpec(
    agent="demo",
    workspace_kind="git",
    workspace={"url": "https://example.org/r.git", "depth": 1},
    mode=Mode.PLAN,
    model="opus",
    title="Größe 50%",
    metadata={"team": "a", 'we"ird.key': "ü\\"},
    env={"TOKEN": "s3cret-value"},
    mcp_servers={"docs": {"url": "https://mcp.example", "headers": {"x": "s3cret-header"}}},
    allowed_domains=("example.org", "*.example.com"),
    limits=Limits(idle_s=1.5, max_cost_usd=2.25, max_turns=3),
    on_worker_loss=OnWorkerLoss.CONTINUE,
    ask_timeout_s=0.0,
)


def titles(c, **filters):
    return [session.spec.title for session in sessions.page(c, ACME, **filters)[0]]


def test_a_session_comes_back_as_it_was_made(db):
    ses = SessionId("ses_1")
    with db.write() as c:
        sessions.create(c, FULL, id=ses, tenant=ACME, key=KeyId("key_1"), sealer=SEALER, at=T0)
        heads.create(c, ses, ACME, portable=False, start_by=None, end_by=None)
    with db.read() as c:
        session = sessions.get(c, ACME, ses, SEALER)

        assert session.spec == FULL
        assert (session.id, session.tenant, session.key, session.version) == (ses, ACME, "key_1", 1)
        assert (session.status, session.worker, session.last_seq) == (SessionStatus.STARTING, None, 0)
        assert session.created_at == session.updated_at == T0
        assert sessions.get_any(c, ses, SEALER) == session


def test_a_session_is_nobody_elses(db):
    with db.write() as c:
        ses = add_session(c)

        assert sessions.get(c, OTHER, ses, SEALER) is None
        assert sessions.page(c, OTHER) == ([], None)
        assert sessions.get(c, ACME, SessionId("ses_none"), SEALER) is None


def test_env_and_mcp_servers_lie_sealed_and_are_never_listed(db):
    with db.write() as c:
        add_session(c, env=FULL.env, mcp_servers=FULL.mcp_servers)
        row = c.execute(sa.select(tables.sessions)).one()
        [listed], _ = sessions.page(c, ACME)

        assert "s3cret" not in "".join(map(str, row))
        assert (listed.spec.env, listed.spec.mcp_servers) == ({}, {})
        with pytest.raises(SealBroken):
            sessions.get_any(c, SessionId(row.id), Sealer("another secret key of more than 32 characters"))


def test_the_worker_that_hosts_it_is_named(db):
    me = Incarnation("wkr_1")
    with db.write() as c:
        ses = add_session(c)
        workers.register(
            c, incarnation=me, name="w1", role="worker", volume_id="v", address=None, capacity=1, agents={}, at=T0
        )
        heads.next_input(c, ses, T0)
        ownership.claim(c, me, "v")

        session = sessions.get(c, ACME, ses, SEALER)

    assert (session.worker, session.epoch, session.volume_id) == ("w1", 1, "v")


def test_pages_walk_all_sessions_newest_first(db):
    with db.write() as c:
        for n in range(7):
            add_session(c, at=after(n // 2), title=str(n))
        seen, cursor = [], None
        while True:
            page, cursor = sessions.page(c, ACME, cursor=cursor, limit=2)
            seen += [session.spec.title for session in page]
            add_session(c, at=after(100), title="made meanwhile")
            if cursor is None:
                break

    assert sorted(seen) == list("0123456")
    assert [int(title) // 2 for title in seen] == [3, 2, 2, 1, 1, 0, 0]


def test_filters_narrow_a_page(db):
    with db.write() as c:
        add_session(c, title="one", metadata={"team": "a", "tier": "1"})
        two = add_session(c, title="two", metadata={"team": "a"}, agent="claude", at=after(10))
        ended = add_session(c, title="three", metadata={"team": "b"}, at=after(20))
        heads.end(c, ended, "terminated", None, after(30))

        assert titles(c, agent="claude") == ["two"]
        assert titles(c, title="one") == ["one"]
        assert titles(c, title="on") == []
        assert titles(c, status=[SessionStatus.ENDED]) == ["three"]
        assert titles(c, status=[SessionStatus.STARTING, SessionStatus.ENDED]) == ["three", "two", "one"]
        assert titles(c, created_after=after(10)) == ["three"]
        assert titles(c, metadata={"team": "a"}) == ["two", "one"]
        assert titles(c, metadata={"team": "a", "tier": "1"}) == ["one"]
        assert titles(c, metadata={"team": "a"}, agent="demo", q="ONE") == ["one"]
        assert titles(c, q=two[5:].upper()) == ["two"]
        assert titles(c, agent=None, title=None, q=None, created_after=None, cursor=None) == ["three", "two", "one"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a.b", "x"),
        ('qu"ote', "it's"),
        ("schlüssel", "größe 🐎"),
        ("$", "back\\slash"),
        ("", ""),
        ("{a,b}", "[1]"),
        ("nul\x00", "half \ud83d of a pair"),
        ("n", "1"),
    ],
)
def test_any_metadata_entry_can_be_looked_for(db, key, value):
    with db.write() as c:
        add_session(c, title="has it", metadata={key: value, "more": "x"})
        add_session(c, title="has another value", metadata={key: value + "!"})
        add_session(c, title="has none")

        assert titles(c, metadata={key: value}) == ["has it"]


def test_a_search_takes_wildcards_literally_and_ignores_case(db):
    with db.write() as c:
        for title in ("Fix 100% of it", "fix 100 of it", "snake_case", "snakeXcase", "bang! case", None):
            add_session(c, title=title)

        assert titles(c, q="100%") == ["Fix 100% of it"]
        assert titles(c, q="snake_case") == ["snake_case"]
        assert titles(c, q="BANG! C") == ["bang! case"]
        assert sorted(titles(c, q="FIX")) == ["Fix 100% of it", "fix 100 of it"]
        assert titles(c, q="\x00") == []
        assert len(titles(c, q="")) == 6


def test_a_search_meets_what_lies_beyond_ascii(db):
    with db.write() as c:
        add_session(c, title="ÄRGER über Größe")

        assert titles(c, q="ÄRGER") == ["ÄRGER über Größe"]


def test_a_bad_cursor_is_refused(db):
    with db.read() as c, pytest.raises(InvalidField):
        sessions.page(c, ACME, cursor="nonsense")


def test_a_patch_changes_what_it_names_and_nothing_else(db):
    with db.write() as c:
        ses = add_session(c, title="old", model="opus", metadata={"a": "1"})
        before = sessions.get(c, ACME, ses, SEALER)

        version = sessions.patch(c, ses, title="new", limits=Limits(max_turns=9), model=UNSET)

        now_ = sessions.get(c, ACME, ses, SEALER)
        wanted = dataclasses.replace(before.spec, title="new", limits=Limits(max_turns=9))
    assert version == now_.version == 2
    assert now_.spec == wanted
    assert now_.updated_at > before.updated_at


def test_a_patch_can_clear_title_and_model(db):
    with db.write() as c:
        ses = add_session(c, title="old", model="opus")

        sessions.patch(c, ses, title=None, model=None, metadata={}, mode=Mode.BYPASS)

        spec = sessions.get(c, ACME, ses, SEALER).spec
    assert (spec.title, spec.model, spec.metadata, spec.mode) == (None, None, {}, Mode.BYPASS)


def test_a_patch_of_an_older_version_changes_nothing(db):
    with db.write() as c:
        ses = add_session(c, title="old")
        assert sessions.patch(c, ses, title="mine", if_version=1) == 2

        with pytest.raises(VersionMismatch) as refusal:
            sessions.patch(c, ses, title="late", if_version=1)

        assert refusal.value.facts == {"actual": 2}
        assert titles(c) == ["mine"]


def test_an_empty_patch_keeps_the_version_and_still_compares_it(db):
    with db.write() as c:
        ses = add_session(c)

        assert sessions.patch(c, ses) == 1
        assert sessions.patch(c, ses, title=UNSET, if_version=1) == 1
        with pytest.raises(VersionMismatch):
            sessions.patch(c, ses, if_version=7)
        with pytest.raises(NotFound):
            sessions.patch(c, SessionId("ses_none"), title="x")


def test_of_twenty_patches_of_one_version_one_is_taken(db):
    with db.write() as c:
        ses = add_session(c)

    answers = at_once(db, 20, lambda c: sessions.patch(c, ses, title="x", if_version=1))

    assert answers.count(2) == 1
    assert sum(isinstance(answer, VersionMismatch) for answer in answers) == 19


def test_usage_of_many_hosts_at_once_adds_up(db):
    with db.write() as c:
        ses = add_session(c)

    at_once(db, 10, lambda c: sessions.add_usage(c, ses, turns=1, cost_usd=0.25))

    with db.read() as c:
        session = sessions.get(c, ACME, ses, SEALER)
    assert (session.turns_started, session.cost_usd) == (10, 2.5)


def test_nul_and_half_pairs_are_spelled_out_instead_of_breaking_the_store(db):
    with db.write() as c:
        ses = add_session(c, title="a\x00b\ud800", env={"A": "\x00\ud800"}, workspace={"path": "\x00"})

        spec = sessions.get(c, ACME, ses, SEALER).spec
    assert spec.title == "a\\u0000b\\ud800"
    assert spec.env == {"A": "\x00\ud800"}


def test_the_agents_own_name_for_the_conversation_is_kept(db):
    with db.write() as c:
        ses = add_session(c)
        sessions.set_agent_session(c, ses, "conv-1")

        assert sessions.get(c, ACME, ses, SEALER).agent_session_id == "conv-1"
        assert sessions.on_worker_loss(c, ses) is OnWorkerLoss.INTERRUPT


def test_a_limit_of_a_later_release_is_left_alone(db):
    with db.write() as c:
        ses = add_session(c)
        c.execute(tables.sessions.update().values(limits={"max_turns": 2, "of_tomorrow": 1}))

        assert sessions.get(c, ACME, ses, SEALER).spec.limits == Limits(max_turns=2)


def test_deleting_a_session_leaves_nothing_of_it_and_all_of_others(db):
    with db.write() as c:
        for ses in (gone := add_session(c), add_session(c)):
            add_turn(c, ses)
            add_ask(c, ses)
            heads.next_input(c, ses, T0)
            blobs.create(c, id=f"blb_{ses}", session=ses, media_type="text/plain", content=b"x", at=T0)
            transcripts.append(c, ses, "conv", ["{}"])
            c.execute(
                tables.events.insert().values(session_id=ses, seq=1, type="message", created_at="2026", data="{}")
            )

        sessions.delete(c, gone)

        for table in (tables.sessions, tables.heads, tables.turns, tables.asks, tables.blobs, tables.transcripts):
            assert c.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 1, table.name
        assert c.execute(sa.select(sa.func.count()).select_from(tables.events)).scalar_one() == 1
