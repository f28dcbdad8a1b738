"""The real Claude Code under its driver: turns, tools, asks, interrupts, errors. The model is scripted."""

from __future__ import annotations

import json

import pytest

from shared.agents.driver import (
    AskOpen,
    AskWithdrawn,
    Emit,
    Interrupt,
    ModeNow,
    Ready,
    Reply,
    Send,
    SetMode,
    SetModel,
    TurnEnd,
)
from shared.domain.ask import AskKind, PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus

ALLOW = PermissionAnswer(Verdict.ALLOW)


def _allow(_ask: AskOpen) -> PermissionAnswer:
    return ALLOW


def _streaming(output: object) -> bool:
    return isinstance(output, Emit) and output.type is EventType.MESSAGE_CHUNK


# --- plain turns


def test_a_turn_streams_its_text_and_ends_with_usage_and_cost(start):
    with start() as agent:
        end = agent.turn("say hello")

    chunks = "".join(str(data["text"]) for data in agent.events(EventType.MESSAGE_CHUNK))
    assert end.status is TurnStatus.COMPLETED
    assert end.stop_reason == "end_turn"
    assert end.result_text == chunks == agent.events(EventType.MESSAGE)[0]["text"]
    assert end.usage is not None
    assert end.usage.input_tokens == 2000
    assert end.cost_usd is not None
    assert end.cost_usd > 0
    assert agent.of(Ready)[0].version == "2.1.329"
    assert not agent.events(EventType.NOTICE)


def test_a_second_prompt_remembers_the_first_and_costs_no_more_than_itself(start):
    with start() as agent:
        first = agent.turn("[[remember:plum]] hello")
        second = agent.turn("[[recall]] what was it?")

    assert "plum" in agent.events(EventType.MESSAGE)[-2]["text"]
    assert second.cost_usd == pytest.approx(first.cost_usd)


def test_thinking_is_streamed(start):
    with start() as agent:
        agent.turn("[[think]]")

    thoughts = [str(data["text"]) for data in agent.events(EventType.THINKING_CHUNK)]
    assert "".join(thoughts) == "Let me think about this for a moment."


def test_a_message_of_300_kilobytes_comes_whole(start):
    with start() as agent:
        agent.turn("[[big:300000]]")

    assert agent.events(EventType.MESSAGE)[0]["text"] == "x" * 300_000


# --- tools and permissions


def test_a_harmless_command_runs_unasked(start):
    with start() as agent:
        end = agent.turn("[[bash:echo hi]]")

    (call,), (result,) = agent.events(EventType.TOOL_CALL), agent.events(EventType.TOOL_RESULT)
    assert end.status is TurnStatus.COMPLETED
    assert call["name"] == "Bash"
    assert result == {"tool_call_id": call["tool_call_id"], "name": "Bash", "output": "hi", "is_error": False}


def test_an_allowed_command_runs(start, cwd):
    with start() as agent:
        agent.turn("[[bash:echo hi > f.txt]]", decide=_allow)

    (ask,) = agent.of(AskOpen)
    assert ask.kind is AskKind.PERMISSION
    assert ask.data["tool_call_id"] == agent.events(EventType.TOOL_CALL)[0]["tool_call_id"]
    assert (cwd / "f.txt").read_text() == "hi\n"


def test_a_denied_command_does_not_run_and_the_model_hears_why(start, cwd):
    with start() as agent:
        end = agent.turn("[[bash:echo hi > f.txt]]", decide=lambda _: PermissionAnswer(Verdict.DENY, "not on Friday"))

    assert end.status is TurnStatus.COMPLETED
    assert "not on Friday" in str(end.result_text)
    assert agent.events(EventType.TOOL_RESULT)[0]["is_error"] is True
    assert not (cwd / "f.txt").exists()


def test_a_denial_with_stop_ends_the_turn_and_the_next_one_runs(start):
    with start() as agent:
        end = agent.turn("[[bash:touch f.txt]]", decide=lambda _: PermissionAnswer(Verdict.DENY, "no", stop=True))
        after = agent.turn("go on")

    assert (end.status, end.stop_reason) == (TurnStatus.CANCELLED, "denied")
    assert after.status is TurnStatus.COMPLETED


def test_a_changed_input_is_what_runs(start, cwd):
    changed = PermissionAnswer(Verdict.ALLOW, input={"command": "echo changed > g.txt", "description": "d"})
    with start() as agent:
        agent.turn("[[bash:echo hi > f.txt]]", decide=lambda _: changed)

    assert (cwd / "g.txt").read_text() == "changed\n"
    assert not (cwd / "f.txt").exists()


def test_allow_always_asks_once_and_leaves_nothing_in_the_workspace(start, cwd):
    with start() as agent:
        agent.turn("[[bash:touch f.txt]]", decide=lambda _: PermissionAnswer(Verdict.ALLOW_ALWAYS))
        agent.turn("[[bash:touch f.txt]]")
        asked = len(agent.of(AskOpen))

    assert asked == 1
    assert sorted(path.name for path in cwd.iterdir()) == ["f.txt"]


def test_a_workspaces_instructions_are_read(start, cwd, model_server):
    cwd.mkdir(parents=True)
    (cwd / "CLAUDE.md").write_text("Prefer tabs over marmalade.")

    with start() as agent:
        agent.turn("hello")

    assert "Prefer tabs over marmalade." in json.dumps(model_server.record.requests[0])


def test_settings_hooks_skills_and_servers_of_a_cloned_repository_do_nothing(start, cwd, model_server, tmp_path):
    trap = {"type": "command", "command": f"touch {tmp_path}/hooked"}
    settings = {"hooks": {"UserPromptSubmit": [{"hooks": [trap]}]}, "permissions": {"allow": ["Bash"]}}
    servers = {"mcpServers": {"x": {"command": "touch", "args": [f"{tmp_path}/served"]}}}
    (cwd / ".claude").mkdir(parents=True)
    (cwd / ".claude" / "settings.json").write_text(json.dumps(settings))
    (cwd / ".mcp.json").write_text(json.dumps(servers))
    (cwd / ".claude" / "skills" / "own").mkdir(parents=True)
    skill = "---\nname: own\ndescription: a skill of the workspace\n---\nDo it."
    (cwd / ".claude" / "skills" / "own" / "SKILL.md").write_text(skill)

    with start() as agent:
        agent.turn("[[bash:touch f.txt]]", decide=_allow)

    assert len(agent.of(AskOpen)) == 1
    assert not (tmp_path / "hooked").exists()
    assert not (tmp_path / "served").exists()
    assert "a skill of the workspace" not in json.dumps(model_server.record.requests)


# --- questions and plans


@pytest.mark.parametrize(
    ("marker", "answer", "heard"),
    [
        ("[[ask]]", "Postgres", "Postgres"),
        ("[[ask]]", "rather a file", "rather a file"),
        ("[[ask:many]]", ["Postgres", "Redis"], "Postgres, Redis"),
    ],
    ids=["label", "free text", "several labels"],
)
def test_an_answer_reaches_the_model(start, marker, answer, heard):
    def decide(ask: AskOpen) -> QuestionAnswer:
        (question,) = ask.data["questions"]
        assert [option["label"] for option in question["options"]] == ["Postgres", "Redis"]
        assert question["multi_select"] is ("many" in marker)
        return QuestionAnswer({question["question"]: answer})

    with start() as agent:
        end = agent.turn(marker, decide=decide)

    assert agent.of(AskOpen)[0].kind is AskKind.QUESTION
    assert heard in str(end.result_text)


def test_a_declined_question_lets_the_turn_go_on(start):
    with start() as agent:
        end = agent.turn("[[ask]]", decide=lambda _: QuestionAnswer(None, "ask somebody else"))

    assert end.status is TurnStatus.COMPLETED
    assert "ask somebody else" in str(end.result_text)


def test_a_rejected_plan_stays_in_plan_mode_and_its_feedback_is_heard(start):
    with start(mode=Mode.PLAN) as agent:
        end = agent.turn("[[plan]]", decide=lambda _: PlanAnswer(approve=False, feedback="add tests"))

    (ask,) = agent.of(AskOpen)
    assert (ask.kind, ask.data) == (AskKind.PLAN, {"plan": "# Plan\n1. create f.txt\n2. done\n"})
    assert "add tests" in str(end.result_text)
    assert not agent.of(ModeNow)


def test_an_approved_plan_moves_to_the_mode_that_was_chosen(start, cwd):
    with start(mode=Mode.PLAN) as agent:
        agent.turn("[[plan]][[bash:touch f.txt]]", decide=lambda _: PlanAnswer(True, next_mode=Mode.ACCEPT_EDITS))

    assert len(agent.of(AskOpen)) == 1
    assert agent.of(ModeNow) == [ModeNow(Mode.ACCEPT_EDITS)]
    assert (cwd / "f.txt").exists()


# --- modes and models


def test_a_mode_is_changed_on_request_and_by_the_agent(start):
    with start() as agent:
        agent.wait(Ready)
        agent.say(SetMode(Mode.PLAN))
        agent.wait(ModeNow)
        agent.say(SetMode(Mode.INTERACTIVE))
        agent.wait(ModeNow, skip=1)
        agent.turn("[[enterplan]]")

    assert [output.mode for output in agent.of(ModeNow)] == [Mode.PLAN, Mode.INTERACTIVE, Mode.PLAN]


def test_bypass_is_refused_where_it_was_not_allowed_at_the_start(start):
    with start() as agent:
        agent.wait(Ready)
        agent.say(SetMode(Mode.BYPASS))
        told = agent.wait(ModeNow)

    assert told.mode is Mode.INTERACTIVE
    assert agent.events(EventType.NOTICE)[0]["kind"] == "mode_refused"


def test_bypass_asks_nothing_where_it_was_allowed(start, cwd):
    with start(mode=Mode.BYPASS, allow_bypass=True) as agent:
        agent.turn("[[bash:touch f.txt]]")

    assert not agent.of(AskOpen)
    assert (cwd / "f.txt").exists()


def test_a_model_is_changed_and_changed_back(start, model_server):
    with start() as agent:
        agent.wait(Ready)
        agent.say(SetModel("sonnet"))
        agent.turn("one")
        agent.say(SetModel(None))
        agent.turn("two")

    models = [str(request["model"]) for request in model_server.record.requests]
    assert [model.split("-")[1] for model in models] == ["sonnet", "opus"]


# --- interrupts


def test_an_interrupt_in_the_text_cancels_the_turn_and_the_next_one_runs(start):
    with start() as agent:
        agent.wait(Ready)
        agent.prompt("[[slow:100]]")
        agent.until(_streaming)
        agent.say(Interrupt())
        end = agent.wait(TurnEnd)
        after = agent.turn("go on")

    assert (end.status, end.stop_reason) == (TurnStatus.CANCELLED, "interrupted")
    assert after.status is TurnStatus.COMPLETED


def test_an_interrupt_in_a_tool_stops_the_command(start, cwd):
    with start() as agent:
        agent.wait(Ready)
        agent.prompt("[[bash:touch begun; python3 -c 'import time; time.sleep(99)'; touch done]]")
        ask = agent.wait(AskOpen)
        agent.say(Reply(ask.ref, ALLOW))
        agent.until(lambda _: (cwd / "begun").exists())
        agent.say(Interrupt())
        end = agent.wait(TurnEnd, timeout_s=10)

    assert end.status is TurnStatus.CANCELLED
    assert agent.events(EventType.TOOL_RESULT)[0]["is_error"] is True
    assert not (cwd / "done").exists()


def test_an_interrupt_during_an_ask_withdraws_it(start):
    with start() as agent:
        agent.wait(Ready)
        agent.prompt("[[bash:touch f.txt]]")
        ask = agent.wait(AskOpen)
        agent.say(Interrupt())
        end = agent.wait(TurnEnd)

    assert agent.of(AskWithdrawn) == [AskWithdrawn(ask.ref, "interrupted")]
    assert end.status is TurnStatus.CANCELLED


def test_an_interrupt_right_behind_the_prompt_cancels_it(start):
    with start() as agent:
        agent.turn("warm up")
        before = len(agent.outputs)
        agent.prompt("[[slow:100]]")
        agent.say(Interrupt())
        end = agent.wait(TurnEnd, start=before, timeout_s=8)

    assert end.status is TurnStatus.CANCELLED


def test_an_interrupt_when_nothing_runs_says_nothing(start):
    with start() as agent:
        agent.turn("hello")
        before = len(agent.outputs)
        agent.say(Interrupt())
        after = agent.turn("again")

    assert after.status is TurnStatus.COMPLETED
    assert b"interrupt" not in b"".join(out.data for out in agent.outputs[before:] if isinstance(out, Send))


# --- errors and limits


def test_an_overloaded_model_is_tried_again(start):
    with start() as agent:
        end = agent.turn("[[err:529]]")

    retries = agent.events(EventType.RETRYING)
    assert [(retry["attempt"], retry["status"], retry["error"]) for retry in retries] == [
        (1, 529, "overloaded"),
        (2, 529, "overloaded"),
    ]
    assert end.status is TurnStatus.COMPLETED


def test_a_request_the_model_refuses_fails_the_turn(start):
    with start() as agent:
        end = agent.turn("[[err:400]]")
        after = agent.turn("go on")

    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "error")
    assert "scripted 400" in str(end.error)
    assert agent.events(EventType.ERROR)[0]["status"] == 400
    assert after.status is TurnStatus.COMPLETED


def test_a_turn_beyond_its_cost_is_stopped_and_the_next_one_runs(start):
    with start(max_turn_cost_usd=0.015) as agent:
        end = agent.turn("[[bash:echo 1]][[bash:echo 2]][[bash:echo 3]][[slow:100]]")
        after = agent.turn("go on")

    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "max_cost")
    assert after.status is TurnStatus.COMPLETED


# --- tasks


def test_a_background_subagent_ends_the_turn_once(start):
    with start() as agent:
        end = agent.turn("[[agent:say hello]]")
        after = agent.turn("go on")

    kinds = [notice["kind"] for notice in agent.events(EventType.NOTICE)]
    assert kinds == ["task_started", "task_ended"]
    assert agent.of(TurnEnd) == [end, after]
    assert any("parent_tool_call_id" in data for data in agent.events(EventType.MESSAGE))


def test_tasks_of_the_agent_are_one_list(start, claude_binary):
    tools = "Bash,TaskCreate,TaskUpdate,TaskList"
    with start(command=[str(claude_binary), "--tools", tools]) as agent:
        agent.turn("[[task:step one]][[task:step two]][[taskdone:1]]")

    assert agent.events(EventType.PLAN_UPDATE)[-1]["items"] == [
        {"id": "1", "text": "step one", "status": "completed"},
        {"id": "2", "text": "step two", "status": "pending"},
    ]
