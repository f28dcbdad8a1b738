"""The real Claude Code after it was gone: resumed from its own file, or from the mirror in an empty home."""

from __future__ import annotations

import json

import pytest

from shared.agents.claude.driver import ClaudeDriver
from shared.agents.driver import AskOpen, AskWithdrawn, Emit, ModeNow, Ready, Reply, TurnEnd
from shared.domain.ask import PermissionAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus

ALLOW = PermissionAnswer(Verdict.ALLOW)


def _streaming(output: object) -> bool:
    return isinstance(output, Emit) and output.type is EventType.MESSAGE_CHUNK


def _killed_in_its_second_turn(start):
    """An agent that used a tool in turn 1 and was killed while it spoke in turn 2."""
    with start() as agent:
        agent.turn("[[remember:plum]][[bash:touch f.txt]]", decide=lambda _: ALLOW)
        before = len(agent.outputs)
        agent.prompt("[[slow:100]]")
        agent.until(_streaming, start=before)
        agent.kill()
    return agent


def test_a_killed_agent_ends_its_turn_as_failed_and_says_how(start):
    agent = _killed_in_its_second_turn(start)

    end = agent.of(TurnEnd)[-1]
    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "agent_exited")
    assert "signal 9" in str(end.error)


def test_a_killed_agent_is_resumed_in_an_empty_home_and_remembers_turn_1(start, tmp_path):
    agent = _killed_in_its_second_turn(start)
    elsewhere = str((tmp_path / "elsewhere").resolve())
    conversation = agent.of(Ready)[0].agent_session_id

    with start(
        home=str(tmp_path / "empty"), cwd=elsewhere, agent_session_id=conversation, transcript=agent.entries()
    ) as resumed:
        end = resumed.turn("[[recall]]")

    assert resumed.of(Ready)[0].agent_session_id == conversation
    assert end.status is TurnStatus.COMPLETED
    assert "plum" in resumed.events(EventType.MESSAGE)[0]["text"]


def test_a_conversation_moves_on_through_three_empty_homes(start, tmp_path):
    agent = _killed_in_its_second_turn(start)
    conversation, entries = agent.of(Ready)[0].agent_session_id, agent.entries()

    for stage in ("second", "third"):
        with start(home=str(tmp_path / stage), agent_session_id=conversation, transcript=entries) as agent:
            agent.turn(f"[[recall]] [[remember:{stage}]]")
        entries = [*entries, *agent.entries()]
    with start(home=str(tmp_path / "fourth"), agent_session_id=conversation, transcript=entries) as agent:
        agent.turn("[[recall]]")

    assert "third" in agent.events(EventType.MESSAGE)[0]["text"]


def test_a_killed_agent_is_resumed_in_its_own_home_without_a_mirror(start):
    agent = _killed_in_its_second_turn(start)

    with start(agent_session_id=agent.of(Ready)[0].agent_session_id) as resumed:
        resumed.turn("[[recall]]")

    assert "plum" in resumed.events(EventType.MESSAGE)[0]["text"]


def test_the_cost_of_a_resumed_turn_is_its_own(start):
    agent = _killed_in_its_second_turn(start)
    first = agent.of(TurnEnd)[0]

    with start(agent_session_id=agent.of(Ready)[0].agent_session_id) as resumed:
        end = resumed.turn("hello")

    assert end.cost_usd == pytest.approx(first.cost_usd / 2)


def test_an_agent_killed_while_it_asked_asks_no_more_after_its_resume(start, cwd):
    with start() as agent:
        agent.turn("hello")
        agent.prompt("[[bash:touch f.txt]]")
        ask = agent.wait(AskOpen)
        agent.kill()

    with start(agent_session_id=agent.of(Ready)[0].agent_session_id) as resumed:
        resumed.wait(Ready)
        resumed.say(Reply(ask.ref, ALLOW))
        end = resumed.turn("go on")

    assert agent.of(AskWithdrawn) == [AskWithdrawn(ask.ref, "agent_exited")]
    assert not resumed.of(AskOpen)
    assert end.status is TurnStatus.COMPLETED
    assert not (cwd / "f.txt").exists()


def test_the_same_turn_is_prompted_again_after_a_loss(start):
    with start() as agent:
        agent.turn("hello")
        agent.prompt("[[slow:100]]")
        agent.until(_streaming, start=len(agent.outputs))
        agent.kill()

    with start(agent_session_id=agent.of(Ready)[0].agent_session_id) as resumed:
        end = resumed.turn("hello")

    assert end.status is TurnStatus.COMPLETED
    assert resumed.events(EventType.MESSAGE)


def test_an_unknown_conversation_is_told_as_stale_and_a_fresh_one_starts(start):
    with start(agent_session_id="06a54eb6-53bf-4bb7-b59c-83d95ad7fcbb") as agent:
        end = agent.wait(TurnEnd)
        agent.process.wait(10)
    with start() as fresh:
        after = fresh.turn("hello")

    assert ClaudeDriver().is_stale(end)
    assert agent.of(TurnEnd) == [end]
    assert not agent.of(Ready)
    assert after.status is TurnStatus.COMPLETED


def test_a_fresh_conversation_starts_although_an_earlier_one_has_a_file(start):
    with start() as agent:
        agent.turn("hello")
    with start(transcript=agent.entries()) as fresh:
        end = fresh.turn("hello")

    assert end.status is TurnStatus.COMPLETED
    assert fresh.of(Ready)[0].agent_session_id != agent.of(Ready)[0].agent_session_id


def test_a_workspace_with_a_long_path_is_resumed_in_an_empty_home(start, tmp_path):
    cwd = str(tmp_path.resolve().joinpath(*(f"{'deep-é-𝄞' * 4}{level}" for level in range(6))))
    with start(cwd=cwd) as agent:
        agent.turn("[[remember:plum]]")
    conversation = agent.of(Ready)[0].agent_session_id

    with start(
        cwd=cwd, home=str(tmp_path / "empty"), agent_session_id=conversation, transcript=agent.entries()
    ) as resumed:
        resumed.turn("[[recall]]")

    assert len(cwd) > 200
    assert "plum" in resumed.events(EventType.MESSAGE)[0]["text"]


def test_a_cleared_conversation_has_a_new_id_and_is_the_one_resumed(start, tmp_path):
    with start() as agent:
        agent.turn("[[remember:plum]]")
        agent.turn("/clear")
        agent.turn("[[remember:pear]]")
    first, second = (ready.agent_session_id for ready in agent.of(Ready))

    with start(home=str(tmp_path / "empty"), agent_session_id=second, transcript=agent.entries()) as resumed:
        resumed.turn("[[recall]]")

    laid_down = resumed.launch.files[0].content.decode()
    assert first != second
    assert "pear" in resumed.events(EventType.MESSAGE)[0]["text"]
    assert {json.loads(line).get("sessionId") for line in laid_down.splitlines()} == {second}


def test_a_compacted_conversation_is_told_and_goes_on(start):
    with start() as agent:
        agent.turn("hello")
        compacted = agent.turn("/compact")
        after = agent.turn("go on")

    kinds = [notice["kind"] for notice in agent.events(EventType.NOTICE)]
    assert kinds == ["compacting", "compacted"]
    assert compacted.status is after.status is TurnStatus.COMPLETED


def test_a_resumed_agent_starts_in_the_mode_it_is_given(start):
    with start() as agent:
        agent.turn("hello")

    with start(agent_session_id=agent.of(Ready)[0].agent_session_id, mode=Mode.PLAN) as resumed:
        resumed.turn("[[plan]]", decide=lambda _: PermissionAnswer(Verdict.DENY, "no"))

    assert resumed.of(AskOpen)
    assert not resumed.of(ModeNow)


def test_an_agent_that_is_asked_to_leave_exits_by_itself(start):
    with start() as agent:
        agent.turn("hello")

    assert agent.process.returncode == 0
