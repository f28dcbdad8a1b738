"""A host with real demo agents: sessions that begin with another's conversation and files, or with a foreign one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.agents.registry import DRIVERS
from shared.domain.session import EndReason
from shared.domain.tenant import Caller, Scope
from shared.operations import forks, sessions
from shared.operations.forks import Fork
from shared.operations.sessions import Attachment, NewSession
from shared.store import sessions as rows
from shared.workspaces.registry import KINDS
from tests.fixtures.hosts import SPEC, Stage, play
from tests.fixtures.operating import context_of

pytestmark = pytest.mark.timeout(60)

FOREIGN = "conversation-of-yesterday"
ENTRIES = (
    {"type": "session", "session_id": FOREIGN},
    {"type": "user", "turn": 1, "text": "say the word is quince"},
    {"type": "assistant", "turn": 1, "text": "the word is quince"},
)


class Front:
    """What a caller does to the sessions of a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        agents = {name: driver.abilities for name, driver in DRIVERS.items()}
        self._context = context_of(stage.seeds, agents=agents, kinds=KINDS, allow_bypass=True, finds_transcripts=True)
        self._caller = Caller(stage.seeds.tenant, None, "test", frozenset({Scope.WRITE}))

    def fork(self, session, **wish):
        return self._looked(forks.fork(self._context, self._caller, session, Fork(**wish)).seen.session.id)

    def resume(self, session):
        return self._looked(forks.resume(self._context, self._caller, session))

    def attach(self, *entries, prompt="recall 1"):
        new = NewSession(SPEC, prompt=prompt, attach=Attachment(FOREIGN, entries))
        return self._looked(sessions.create(self._context, self._caller, new).seen.session.id)

    def _looked(self, made):
        self._stage.host.offer()
        return made


async def _ended(stage: Stage, session, count: int = 1):
    return await stage.event(session, "turn_ended", count)


def test_a_fork_has_conversation_and_files_and_leaves_both_as_they_are(database_url, tmp_path):
    async def story(stage: Stage):
        front = Front(stage)
        first = stage.session(prompt="write plum.txt one; say the word is quince")
        await _ended(stage, first)
        await stage.event(first, "session_idle")
        second = front.fork(first, prompt="recall 1; append plum.txt two; read plum.txt", title="a fork")
        forked = await _ended(stage, second)
        stage.prompt(first, "recall 2; recall 1; read plum.txt")
        await _ended(stage, first, 2)
        return (stage.stored(first), stage.stored(second)), forked, stage.told(first, "tool_result"), stage.log(second)

    (source, made), forked, source_results, log = play(database_url, tmp_path, story)

    assert forked["status"] == "completed"
    said = [data["text"] for kind, data in log if kind == "message"]
    assert said[0] == "In turn 1 you said: write plum.txt one; say the word is quince"
    assert [data["output"] for kind, data in log if kind == "tool_result"][-1] == "onetwo\n"
    assert source_results[-1]["output"] == "one"
    assert made.agent_session_id not in {None, source.agent_session_id}
    assert (made.spec.title, made.origin.session, made.spec.mode) == ("a fork", source.id, source.spec.mode)


def test_a_fork_that_is_parked_before_its_first_prompt_still_remembers(sqlite_url, tmp_path):
    async def story(stage: Stage):
        front = Front(stage)
        first = stage.session(prompt="say the word is quince")
        await _ended(stage, first)
        await stage.event(first, "session_idle")
        limits = replace(SPEC.limits, idle_s=0.2)
        second = front.fork(first)
        with stage.database.write() as connection:
            rows.patch(connection, second, limits=limits)
        await stage.event(second, "session_parked")
        stage.prompt(second, "recall 1")
        return await _ended(stage, second)

    ended = play(sqlite_url, tmp_path, story)

    assert "the word is quince" in ended["result_text"]


def test_a_fork_whose_first_prompt_is_held_at_a_checkpoint_still_remembers(sqlite_url, tmp_path):
    async def story(stage: Stage):
        front = Front(stage)
        first = stage.session(prompt="say the word is quince")
        await _ended(stage, first)
        await stage.event(first, "session_idle")
        second = front.fork(first, prompt="confirm: recall 1")
        asked = await stage.event(second, "permission_request")
        stage.answer(asked["ask_id"], {"decision": "allow"})
        return await _ended(stage, second), stage.stored(second).turns_started

    ended, turns = play(sqlite_url, tmp_path, story)

    assert ended["result_text"] == "In turn 1 you said: say the word is quince"
    assert turns == 1


def test_a_fork_of_a_fork_without_a_turn_has_the_first_ones_conversation(sqlite_url, tmp_path):
    async def story(stage: Stage):
        front = Front(stage)
        first = stage.session(prompt="say the word is quince")
        await _ended(stage, first)
        await stage.event(first, "session_idle")
        second = front.fork(first)
        await stage.event(second, "session_idle")
        third = front.fork(second, prompt="recall 1")
        return await _ended(stage, third)

    ended = play(sqlite_url, tmp_path, story)

    assert "the word is quince" in ended["result_text"]


def test_a_fork_whose_files_are_gone_says_so(sqlite_url, tmp_path):
    async def story(stage: Stage):
        front = Front(stage)
        first = stage.session(prompt="write plum.txt one")
        await _ended(stage, first)
        stage.host.look(first)
        await stage.event(first, "session_idle")
        (stage.workspace(first)).rename(tmp_path / "taken away")
        second = front.fork(first, prompt="say never")
        await stage.status(second, "ended")
        return stage.head(second), stage.told(second, "turn_ended")

    head, ends = play(sqlite_url, tmp_path, story)

    assert head.end_reason == EndReason.START_FAILED
    assert "no longer on the worker's volume" in head.end_detail
    assert [end["status"] for end in ends] == ["failed"]


def test_a_parked_session_is_brought_up_without_a_prompt(database_url, tmp_path):
    async def story(stage: Stage):
        front = Front(stage)
        session = stage.session(prompt="say hello", limits=replace(SPEC.limits, idle_s=0.2))
        await stage.event(session, "session_parked")
        with stage.database.write() as connection:
            rows.patch(connection, session, limits=SPEC.limits)
        seen = front.resume(session)
        await stage.event(session, "session_idle", 2)
        again = front.resume(session)
        return seen, again, stage.told(session, "session_started"), stage.head(session)

    seen, again, starts, head = play(database_url, tmp_path, story)

    assert seen.session.status == "parked"
    assert again.session.status == "idle"
    assert [start["resumed"] for start in starts] == [False, True]
    assert head.last_input == head.done_input


def test_an_ended_session_is_continued_by_a_new_one_in_the_same_conversation(database_url, tmp_path):
    async def story(stage: Stage):
        front = Front(stage)
        first = stage.session(
            prompt="write plum.txt one; say the word is quince", limits=replace(SPEC.limits, max_turns=1)
        )
        await stage.status(first, "ended")
        with stage.database.write() as connection:
            rows.patch(connection, first, limits=SPEC.limits)
        created = front.resume(first)
        second = created.seen.session.id
        stage.prompt(second, "recall 1; read plum.txt")
        ended = await _ended(stage, second)
        return stage.stored(first), stage.stored(second), ended, stage.told(second, "message")

    first, second, ended, messages = play(database_url, tmp_path, story)

    assert (first.status, ended["status"]) == ("ended", "completed")
    assert "the word is quince" in messages[0]["text"]
    assert second.agent_session_id == first.agent_session_id
    assert second.origin.session == first.id != second.id


def test_a_session_goes_on_with_a_foreign_conversation(database_url, tmp_path):
    async def story(stage: Stage):
        session = Front(stage).attach(*ENTRIES)
        return await _ended(stage, session), stage.stored(session)

    ended, session = play(database_url, tmp_path, story)

    assert ended["result_text"] == "In turn 1 you said: say the word is quince"
    assert session.agent_session_id == FOREIGN


def test_a_foreign_conversation_is_found_where_the_operator_allows(sqlite_url, tmp_path):
    kept = tmp_path / "kept" / "2026" / "11"
    kept.mkdir(parents=True)
    text = "".join(f"{json.dumps(entry)}\n" for entry in ENTRIES)
    (kept / f"rollout-{FOREIGN}.jsonl").write_text(text + '{"half')

    async def story(stage: Stage):
        session = Front(stage).attach()
        return await _ended(stage, session)

    ended = play(sqlite_url, tmp_path, story, attach_folders=(tmp_path / "kept",))

    assert ended["result_text"] == "In turn 1 you said: say the word is quince"
    assert (kept / f"rollout-{FOREIGN}.jsonl").read_text() == text + '{"half'


def test_a_foreign_conversation_that_is_nowhere_ends_the_session_with_the_reason(sqlite_url, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{FOREIGN}.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in ENTRIES))
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / f"{FOREIGN}.jsonl").symlink_to(outside / f"{FOREIGN}.jsonl")

    async def story(stage: Stage):
        session = Front(stage).attach()
        await stage.status(session, "ended")
        return stage.head(session), stage.told(session, "turn_ended")

    head, ends = play(sqlite_url, tmp_path, story, attach_folders=(kept,))

    assert head.end_reason == EndReason.START_FAILED
    assert "CORRAL_ATTACH_FOLDERS" in head.end_detail
    assert [end["status"] for end in ends] == ["failed"]
