"""Codex's turns: whatever it says or leaves unsaid, each has one end, and what it left behind is seen to."""

from __future__ import annotations

import json

import pytest

from shared.agents.codex.driver import CodexDriver
from shared.agents.codex.turns import CLOSING_S
from shared.agents.driver import (
    ExitStatus,
    Interrupt,
    Leave,
    ModeNow,
    Prompt,
    Ready,
    SetMode,
    SetModel,
    Transcript,
    WakeIn,
)
from shared.domain.event import EventType
from shared.domain.ids import TurnId
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from shared.domain.usage import Usage
from tests.fixtures.codex_talk import ROLLOUT, THREAD, Talk, ends, events, methods, planned, sent

LIST = json.dumps({"type": "session_meta", "payload": {"id": THREAD}})


@pytest.fixture
def talk():
    return Talk()


# --- coming up


def test_it_introduces_itself_then_opens_a_thread_with_the_least_it_may_have():
    talk = Talk(up=False)

    outputs = talk.comes_up()

    said = sent(talk.outputs)
    assert methods(talk.outputs) == ["initialize", "initialized", "config/read", "thread/start"]
    assert said[-1]["params"] == {
        "cwd": "/workspace",
        "approvalPolicy": "untrusted",
        "sandbox": "read-only",
        "historyMode": "legacy",
    }
    assert outputs == [Ready(THREAD, "gpt-x", "0.163.0")]


@pytest.mark.parametrize(("fork", "method"), [(False, "thread/resume"), (True, "thread/fork")])
def test_a_known_conversation_is_resumed_or_copied_under_the_provider_of_now(fork, method):
    talk = Talk(up=False, agent_session_id="old", fork=fork, model="gpt-y")

    (ready,) = talk.comes_up(id="copy" if fork else "old")

    asked = sent(talk.outputs)[-1]
    assert asked["method"] == method
    assert asked["params"]["threadId"] == "old"
    assert asked["params"]["modelProvider"] == "corral"
    assert asked["params"]["model"] == "gpt-y"
    assert ready.agent_session_id == ("copy" if fork else "old")


def test_a_conversation_too_long_for_a_line_is_resumed_all_the_same():
    talk = Talk(up=False, agent_session_id="old")
    talk.answer("initialize")
    talk.refuse("config/read", "not here")

    outputs = talk.line('{"id":3,"result":{"thread":{"id":"old","turns":[{"id":', dropped=9_000_000)

    assert [output for output in outputs if isinstance(output, Ready)] == [Ready("old", None, None)]


def test_an_unknown_conversation_ends_its_first_turn_as_stale():
    talk = Talk(up=False, agent_session_id="old")
    talk.answer("initialize")
    talk.answer("config/read")

    talk.refuse("thread/resume", "no rollout found for thread id old")
    (end,) = talk.say(Prompt(TurnId("trn_1"), "go on"))

    assert CodexDriver().is_stale(end)
    assert end.status is TurnStatus.FAILED


def test_a_thread_that_cannot_be_begun_fails_its_turns_and_is_not_stale():
    talk = Talk(up=False)
    talk.say(Prompt(TurnId("trn_1"), "go on"))
    talk.answer("initialize")
    talk.answer("config/read")

    ready, end = talk.refuse("thread/start", "config.toml: no such provider")

    assert isinstance(ready, Ready)
    assert (end.status, end.stop_reason, end.error) == (TurnStatus.FAILED, "error", "config.toml: no such provider")
    assert not CodexDriver().is_stale(end)


def test_a_prompt_that_came_first_waits_for_the_thread():
    talk = Talk(up=False)
    early = talk.say(Prompt(TurnId("trn_1"), "go on"))

    outputs = talk.comes_up()

    assert early == []
    assert methods(outputs) == ["turn/start"]


def test_a_prompt_that_still_waits_is_cancelled_on_the_spot():
    talk = Talk(up=False)
    talk.say(Prompt(TurnId("trn_1"), "go on"))

    (end,) = talk.say(Interrupt())

    assert (end.status, end.stop_reason) == (TurnStatus.CANCELLED, "interrupted")
    assert methods(talk.comes_up()) == []


# --- modes and models


@pytest.mark.parametrize(
    ("mode", "approval", "sandbox", "kind"),
    [
        (Mode.INTERACTIVE, "untrusted", "dangerFullAccess", "default"),
        (Mode.ACCEPT_EDITS, "on-request", "workspaceWrite", "default"),
        (Mode.PLAN, "untrusted", "readOnly", "plan"),
        (Mode.BYPASS, "never", "dangerFullAccess", "default"),
    ],
)
def test_each_turn_says_its_mode(mode, approval, sandbox, kind):
    talk = Talk(allow_bypass=True)
    told = talk.say(SetMode(mode))

    (asked,) = sent(talk.prompt())

    params = asked["params"]
    assert told == [ModeNow(mode)]
    assert params["threadId"] == THREAD
    assert params["input"] == [{"type": "text", "text": "go on", "text_elements": []}]
    assert (params["approvalPolicy"], params["sandboxPolicy"]["type"]) == (approval, sandbox)
    assert params["collaborationMode"]["mode"] == kind
    assert params["collaborationMode"]["settings"]["reasoning_effort"] == "medium"


def test_bypass_is_refused_where_the_session_may_not(talk):
    notice, now = talk.say(SetMode(Mode.BYPASS))

    assert notice.data["kind"] == "mode_refused"
    assert now == ModeNow(Mode.INTERACTIVE)
    assert sent(talk.prompt())[0]["params"]["approvalPolicy"] == "untrusted"


def test_a_model_is_chosen_and_given_up_again(talk):
    talk.say(SetModel("gpt-y"))
    chosen = sent(talk.prompt())[0]["params"]
    talk.ends()
    talk.say(SetModel(None))

    after = sent(talk.prompt())[0]["params"]

    assert chosen["model"] == chosen["collaborationMode"]["settings"]["model"] == "gpt-y"
    assert after["model"] == "gpt-x"


def test_the_default_model_of_a_resumed_conversation_is_asked_for():
    talk = Talk(up=False, agent_session_id=THREAD, model="gpt-y")
    talk.comes_up()

    asked = talk.say(SetModel(None))
    talk.answer("model/list", data=[{"model": "gpt-z", "isDefault": False}, {"model": "gpt-x", "isDefault": True}])

    assert methods(asked) == ["model/list"]
    assert sent(talk.prompt())[0]["params"]["model"] == "gpt-x"


# --- a turn and its end


def test_a_turn_ends_when_what_it_wrote_down_is_mirrored(talk):
    talk.prompt()
    talk.completed("agentMessage", text="half way")
    done = talk.over(items=[{"type": "agentMessage", "text": "done"}])
    outputs = talk.answer("command/exec", exitCode=0, stdout=f"{LIST}\n", stderr="")

    (asked,) = sent(done)
    assert asked["params"]["command"] == ["tail", "-c", "+1", ROLLOUT]
    assert not ends(done)
    assert WakeIn(CLOSING_S) in done
    (end,) = ends(outputs)
    assert (end.status, end.stop_reason, end.result_text) == (TurnStatus.COMPLETED, "end_turn", "done")
    place, entry = outputs[0].entries
    assert json.loads(place) == {"type": "corral_rollout", "path": ROLLOUT.removeprefix("/home/agent/")}
    assert entry == LIST


def test_the_next_turn_reads_on_where_the_last_one_stopped(talk):
    talk.prompt()
    talk.over()
    talk.answer("command/exec", exitCode=0, stdout=f"{LIST}\n", stderr="")
    talk.prompt()

    (asked,) = sent(talk.over())
    outputs = talk.answer("command/exec", exitCode=0, stdout='{"type":"x"}\n{"type":"cut', stderr="")

    assert asked["params"]["command"][2] == f"+{len(LIST) + 2}"
    assert outputs[0] == Transcript(['{"type":"x"}'])


@pytest.mark.parametrize("how", ["fails", "is refused", "is silent"])
def test_a_turn_ends_also_where_its_record_cannot_be_read(talk, how):
    talk.prompt()
    talk.over()

    match how:
        case "fails":
            outputs = talk.answer("command/exec", exitCode=127, stdout="", stderr="tail: not found")
        case "is refused":
            outputs = talk.refuse("command/exec", "sandbox")
        case _:
            outputs = [*talk.dialogue.woke()]

    assert [end.status for end in ends(outputs)] == [TurnStatus.COMPLETED]
    assert talk.prompt()


def test_the_answer_that_comes_too_late_ends_no_other_turn(talk):
    talk.prompt()
    late = sent(talk.over())[0]["id"]
    talk.dialogue.woke()
    talk.prompt()
    talk.over()

    outputs = talk.line(json.dumps({"id": late, "result": {"exitCode": 0, "stdout": f"{LIST}\n"}}))

    assert not ends(outputs)


def test_the_end_of_another_turn_or_thread_is_not_its_end(talk):
    talk.prompt()

    outputs = talk.tell("turn/completed", turn={"id": "other", "status": "completed"})
    outputs += talk.tell("turn/completed", threadId="other", turn={"id": talk.turn_id, "status": "completed"})

    assert not ends(outputs)
    assert ends(talk.ends())


def test_an_end_whose_line_was_cut_is_an_end(talk):
    talk.prompt()
    talk.completed("agentMessage", text="all I said")

    notice, *outputs = talk.line('{"method":"turn/completed","params":{"threadId":"th-1","turn":{', dropped=1)
    outputs += talk.answer("command/exec", exitCode=0, stdout="")

    assert notice.data == {
        "kind": "line_cut",
        "dropped_bytes": 1,
        "excerpt": '{"method":"turn/completed","params":{"threadId":"th-1","turn":{',
    }
    assert [(end.status, end.result_text) for end in ends(outputs)] == [(TurnStatus.COMPLETED, "all I said")]


def test_a_prompt_codex_does_not_take_fails_its_turn(talk):
    talk.say(Prompt(TurnId("trn_1"), "go on"))
    talk.refuse("turn/start", "thread not found")

    (end,) = ends(talk.answer("command/exec", exitCode=0, stdout=""))

    assert (end.status, end.error) == (TurnStatus.FAILED, "thread not found")


def test_a_failed_turn_says_why_and_each_retry_is_told(talk):
    talk.prompt()
    error = {
        "message": "Reconnecting... 2/5",
        "codexErrorInfo": {"responseStreamDisconnected": {"httpStatusCode": 503}},
    }
    retry = talk.tell("error", error={**error, "additionalDetails": "overloaded"}, willRetry=True)
    last = {"message": "quota", "codexErrorInfo": "usageLimitExceeded"}
    failed = talk.tell("error", error=last, willRetry=False)

    (end,) = ends(talk.ends("failed", error=last))

    assert events(retry, EventType.RETRYING) == [
        {"attempt": 2, "max_attempts": 5, "status": 503, "error": "overloaded"}
    ]
    assert events(failed, EventType.ERROR) == [{"message": "quota", "code": "usageLimitExceeded"}]
    assert (end.status, end.stop_reason, end.error) == (TurnStatus.FAILED, "error", "quota")


def test_the_usage_of_a_turn_is_its_own(talk):
    def used(total, last):
        count = dict.fromkeys(("outputTokens", "cacheWriteInputTokens"), 0)
        usage = {
            name: {**count, "inputTokens": given, "cachedInputTokens": given // 2}
            for name, given in (("total", total), ("last", last))
        }
        return talk.tell("thread/tokenUsage/updated", tokenUsage=usage)

    before = used(1000, 10)
    talk.prompt()
    used(1100, 100)
    told = used(1140, 40)
    (first,) = ends(talk.ends())
    talk.prompt()
    (second,) = ends(talk.ends())

    assert not events(before, EventType.USAGE)
    assert events(told, EventType.USAGE)[0]["input_tokens"] == 70
    assert first.usage == Usage(input_tokens=70, cache_read_tokens=70)
    assert second.usage is None


def test_the_first_usage_of_a_resumed_conversation_does_not_count_what_was_before(talk):
    talk.prompt()
    counts = {"inputTokens": 30, "cachedInputTokens": 0, "outputTokens": 5}
    talk.tell("thread/tokenUsage/updated", tokenUsage={"total": {**counts, "inputTokens": 900}, "last": counts})

    (end,) = ends(talk.ends())

    assert end.usage == Usage(input_tokens=30, output_tokens=5)


def test_the_last_diff_is_told_once_at_the_end(talk):
    talk.prompt()
    early = talk.tell("turn/diff/updated", diff="one") + talk.tell("turn/diff/updated", diff="one and two")

    outputs = talk.ends()

    assert early == []
    assert events(outputs, EventType.NOTICE) == [{"kind": "turn_diff", "diff": "one and two"}]


def test_two_prompts_at_once_end_once_each(talk):
    talk.prompt()
    outputs = talk.prompt()
    outputs += talk.ends()

    assert [end.status for end in ends(outputs)] == [TurnStatus.FAILED, TurnStatus.COMPLETED]


# --- the process


@pytest.mark.parametrize("phase", ["waiting", "started", "planned", "closing"])
def test_a_process_that_is_gone_ends_everything_once(phase):
    talk = Talk(up=phase != "waiting")
    match phase:
        case "waiting":
            talk.say(Prompt(TurnId("trn_1"), "go on"))
        case "started":
            talk.prompt()
            talk.asks("ls")
        case "planned":
            planned(talk)
        case _:
            talk.prompt()
            talk.over()

    outputs = talk.dialogue.end(ExitStatus(None, 9, "killed"))

    (end,) = ends(outputs)
    assert outputs[-1] is end
    assert (end.stop_reason == "agent_exited") is (phase != "closing")
    assert talk.dialogue.end(ExitStatus(0)) == []
    assert talk.dialogue.feed('{"method":"turn/completed","params":{}}') == []
    assert talk.say(Prompt(TurnId("trn_9"), "go on")) == []


def test_leaving_needs_no_words(talk):
    assert talk.say(Leave()) == []


def test_what_it_does_not_know_is_told_three_times(talk):
    told = [output for _ in range(5) for output in talk.tell("item/hologram/delta", delta="x")]

    assert [output.data["frame"] for output in told] == ["item/hologram/delta"] * 3


def test_a_line_that_is_no_message_is_told(talk):
    (notice,) = talk.line("WARNING: something of another program")

    assert notice.data["kind"] == "unreadable_line"


def test_a_warning_is_told_once(talk):
    told = [output for _ in range(3) for output in talk.tell("warning", message="Long conversations tire")]

    assert [output.data for output in told] == [{"kind": "warning", "message": "Long conversations tire"}]
