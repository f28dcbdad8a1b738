"""A real Claude Code in a real fleet: commands, its own MCP servers, late results, forks and foreign conversations."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.live_session import LiveFleet, LiveSession
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.timeout(180)

ORCHARD = Path(__file__).parents[1] / "fakes" / "mcp_orchard.py"


def _command(session: LiveSession, name: str, args: str = "") -> Any:
    made = session.house.client.post(f"/sessions/{session.id}/commands", {"name": name, "args": args})
    return session.over(made["id"])


def _said(session: LiveSession, turn: Any) -> str:
    return "\n".join(data["text"] for data in session.told("message", turn["id"]))


def _another(house: LiveFleet, made: Any) -> LiveSession:
    session = LiveSession(house, made["id"], (made["turn"] or {}).get("id", ""), "")
    house.sessions.append(session)
    return session


def _transcript(session: LiveSession) -> list[Any]:
    (file,) = session.home.glob(".claude/projects/*/*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


# --- commands


def test_commands_run_as_turns_and_clear_goes_on_under_another_id(house):
    session = house.start("[[remember:plum]]")
    session.over()
    before = session.status("idle")["agent_session_id"]
    context = _command(session, "context")
    compacted = _command(session, "compact")
    cleared = _command(session, "clear")
    after = session.turn("hello")

    turns = (context, compacted, cleared, after)
    assert [turn["status"] for turn in turns] == ["completed"] * 4
    assert [turn["command"] for turn in turns] == ["context", "compact", "clear", None]
    assert "Context" in _said(session, context)
    kinds = [data["kind"] for data in session.told("notice")]
    assert kinds == ["compacting", "compacted", "conversation_reset"]
    assert session.status("idle")["agent_session_id"] != before
    assert "plum" not in json.dumps(session.heard_by_the_model()[-1]["messages"])


def test_plan_changes_the_mode_and_says_what_stands_behind_it(house):
    session = house.start("hello")
    session.over()
    alone = _command(session, "plan")
    made = house.client.post(f"/sessions/{session.id}/commands", {"name": "plan", "args": "[[plan]]"})
    ask = session.ask()
    session.answer(ask, verdict="approve", next_mode="accept_edits")
    with_prompt = session.over(made["id"])

    assert (alone["status"], with_prompt["status"]) == ("completed", "completed")
    assert ask["kind"] == "plan"
    assert [data["mode"] for data in session.told("mode_changed")] == ["plan", "accept_edits"]


# --- MCP servers


def test_a_session_has_its_own_mcp_server_and_its_tools_ask(house):
    server = {"command": sys.executable, "args": [str(ORCHARD)], "env": {"ORCHARD_KEY": "shh"}}
    session = house.start('[[mcp:orchard/pick={"fruit": "plum"}]]', mcp_servers={"orchard": server})
    ask = session.ask()
    commands = session.processes().values()
    session.answer(ask, decision="allow")
    turn = session.over()

    assert ask["data"]["tool_name"] == "mcp__orchard__pick"
    assert turn["status"] == "completed"
    (result,) = session.told("tool_result")
    assert (result["name"], result["is_error"]) == ("mcp__orchard__pick", False)
    assert "picked a plum with key shh" in result["output"]
    assert any(str(ORCHARD) in command for command in commands)
    assert not any("shh" in command for command in commands)


# --- late results


def test_work_that_ends_when_the_session_is_idle_is_told_without_a_turn(house):
    session = house.start("[[later:sleep 2 && echo ripe]]", mode="bypass")
    turn = session.over()
    ended = session.hears("notice", lambda data: data["kind"] == "task_ended")["data"]
    late = eventually(
        lambda: [one for one in session.log() if one["type"] == "message" and one["turn_id"] is None],
        timeout_s=30,
        about="what the agent said unasked",
    )
    after = session.turn("hello")

    assert turn["status"] == after["status"] == "completed"
    assert ended["status"] == "completed"
    assert late
    assert len(session.told("turn_ended")) == 2


# --- forks, resumes, foreign conversations


def test_a_fork_remembers_and_is_resumed_in_an_empty_home(house):
    session = house.start("[[remember:plum]][[bash:echo one > f.txt]]", mode="bypass", limits={"idle_s": 1})
    session.over()
    fork = _another(
        house, house.client.post(f"/sessions/{session.id}/fork", {"prompt": "[[recall]][[bash:cat f.txt]]"})
    )
    first = fork.over()
    fork.turn("[[remember:pear]]")
    fork.status("parked")
    shutil.rmtree(fork.home)
    second = fork.turn("[[recall]]")
    source = session.turn("[[recall]]")

    assert "plum" in _said(fork, first)
    assert fork.told("tool_result", first["id"])[0]["output"] == "one"
    assert "pear" in _said(fork, second)
    assert "plum" in json.dumps(fork.heard_by_the_model()[-1]["messages"])
    assert "plum" in _said(session, source)
    assert fork.status("parked")["agent_session_id"] != session.status("parked")["agent_session_id"]


def test_an_ended_session_is_continued_by_another(house):
    session = house.start("[[remember:plum]]")
    session.over()
    ended = session.terminate()
    made = house.client.post(f"/sessions/{session.id}/resume")
    continued = _another(house, made)
    turn = continued.turn("[[recall]]")

    assert made["forked_from"] == session.id
    assert "plum" in _said(continued, turn)
    assert continued.status("idle")["agent_session_id"] == ended["agent_session_id"]


def test_a_foreign_conversation_is_gone_on_with(house):
    session = house.start("[[remember:plum]]")
    session.over()
    conversation = session.terminate()["agent_session_id"]
    attached = house.start("[[recall]]", agent_session_id=conversation, transcript=_transcript(session))
    turn = attached.over()

    assert "plum" in _said(attached, turn)
    assert attached.status("idle")["agent_session_id"] == conversation


def test_a_transcript_the_agent_does_not_take_gives_a_fresh_conversation_and_says_so(house):
    attached = house.start(
        "hello", agent_session_id="0b0e7c1e-0000-4000-8000-000000000000", transcript=[{"type": "nonsense"}]
    )
    turn = attached.over()

    assert turn["status"] == "completed"
    assert [data["kind"] for data in attached.told("notice")] == ["fresh_conversation"]
