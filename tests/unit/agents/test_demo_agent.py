"""The demo agent as a process: what it does to the workspace, and how it misbehaves on request."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.agents.demo.driver import DemoDriver
from shared.agents.driver import AskOpen, Emit, Interrupt, ModeNow, Prompt, Ready, Reply, SetMode, SetModel, TurnEnd
from shared.domain.ask import PermissionAnswer, PlanAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.fixtures.pids import is_running
from tests.fixtures.waiting import eventually

COMMAND = (sys.executable, "-P", "-m", "cli.demo_agent")


def chunks(hosted):
    return hosted.events(EventType.TOOL_OUTPUT_CHUNK)


def results(hosted):
    return hosted.events(EventType.TOOL_RESULT)


# --- the start


def test_the_start_needs_no_heavy_library():
    heavy = "{'asyncio', 'dataclasses', 'inspect', 'subprocess', 'argparse', 'shared', 'click', 'structlog'}"
    program = f"import sys, cli.demo_agent; print({heavy} & set(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--moed=plan"], "there is no option '--moed'"),
        (["--mode=party"], "there is no mode 'party'"),
        (["--mode"], "--mode needs a value"),
        (["--mode=bypass"], "--mode=bypass needs --allow-bypass"),
        (["--session-id=../x"], "is no session id"),
        (["--max-turn-cost-usd=cheap"], "--max-turn-cost-usd=cheap is not a number"),
    ],
)
def test_a_bad_command_line_is_refused_in_words(arguments, told, tmp_path):
    refused = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)}
    )

    assert refused.returncode == 2
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_version_is_one_line():
    assert subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.count("\n") == 1


# --- work


def test_a_friendly_prompt_leaves_a_real_file_that_quotes_it(host):
    hosted = host()

    end = hosted.turn("Please fix the roof")

    assert "Please fix the roof" in Path(hosted.options.cwd, "hello.md").read_text()
    assert "Please fix the roof" in end.result_text
    assert end.usage.output_tokens > 0
    assert end.cost_usd > 0


def test_a_later_friendly_answer_quotes_the_first_prompt(host):
    hosted = host()
    hosted.turn("Please fix the roof")

    hosted.turn("Thanks, and the door")

    assert "you began with “Please fix the roof”" in hosted.texts()


def test_plan_mode_touches_nothing_before_the_plan_is_approved(host):
    hosted = host(Mode.PLAN)
    hosted.prompt("write a.txt one")
    ask = hosted.until(AskOpen)
    untouched = not Path(hosted.options.cwd, "a.txt").exists()

    hosted.say(Reply(ask.ref, PlanAnswer(approve=True)))
    hosted.until(TurnEnd)

    assert untouched
    assert hosted.all(ModeNow) == [ModeNow(Mode.INTERACTIVE)]
    assert Path(hosted.options.cwd, "a.txt").read_text() == "one"


def test_a_path_out_of_the_workspace_is_refused(host, tmp_path):
    hosted = host()
    Path(hosted.options.cwd, "way-out").symlink_to(tmp_path)

    hosted.turn("write ../a.txt x; write way-out/b.txt x; delete .; read /etc/passwd")

    assert all(result["is_error"] and "outside" in result["output"] for result in results(hosted))
    assert not list(tmp_path.glob("*.txt"))


def test_a_tool_allowed_for_good_is_not_asked_for_again(host):
    hosted = host()
    hosted.prompt('permission Fly {"to": "Rome"}; permission Fly {"to": "Oslo"}')
    ask = hosted.until(AskOpen)

    hosted.say(Reply(ask.ref, PermissionAnswer(Verdict.ALLOW_ALWAYS)))
    hosted.until(TurnEnd)

    assert ask.data["input"] == {"to": "Rome"}
    assert "Oslo" in results(hosted)[-1]["output"]
    assert len(hosted.asks()) == 1


def test_mode_and_model_can_be_changed_between_turns(host):
    hosted = host()
    hosted.say(SetMode(Mode.ACCEPT_EDITS))
    hosted.say(SetModel("demo-2"))

    hosted.turn("mode; model")

    assert "My mode is accept_edits.\nMy model is demo-2." in hosted.texts()
    assert hosted.all(ModeNow) == [ModeNow(Mode.ACCEPT_EDITS)]


def test_bypass_is_refused_to_an_agent_not_started_for_it(host):
    hosted = host()
    hosted.say(SetMode(Mode.BYPASS))

    hosted.turn("mode")

    assert hosted.events(EventType.ERROR)[0]["code"] == "bypass_not_allowed"
    assert "My mode is interactive." in hosted.texts()


def test_a_turn_above_its_cost_limit_fails(host):
    end = host(max_turn_cost_usd=0.01).turn("usage 1 2 0.02")

    assert (end.status, end.stop_reason, end.cost_usd) == (TurnStatus.FAILED, "max_cost", 0.02)


def test_a_command_is_over_when_its_shell_is_though_another_holds_its_pipe(host):
    hosted = host(Mode.BYPASS)

    hosted.turn("run sleep 5 & echo started")

    assert "started" in results(hosted)[0]["output"]
    assert results(hosted)[0]["duration_s"] < 4


def test_an_interrupt_kills_the_whole_command(host):
    hosted = host(Mode.BYPASS)
    hosted.prompt("run sleep 60 & echo $!\\; wait")
    pid = int(hosted.until(Emit, lambda emit: emit.type is EventType.TOOL_OUTPUT_CHUNK).data["text"])

    hosted.say(Interrupt())
    end = hosted.until(TurnEnd)

    assert end.status is TurnStatus.CANCELLED
    eventually(lambda: not is_running(pid), about=f"the end of {pid}")


# --- floods and paces


def test_a_flood_comes_whole_and_in_order(host):
    hosted = host()

    hosted.turn("flood 20000 40")

    assert [int(chunk["text"].split(" ")[0]) for chunk in chunks(hosted)] == list(range(1, 20001))
    assert all(len(chunk["text"]) == 40 for chunk in chunks(hosted))


def test_a_pace_is_kept_and_each_chunk_tells_when_it_was_written(host):
    hosted = host()

    hosted.turn("rate 200 0.5")

    times = [chunk["at_ns"] for chunk in chunks(hosted)]
    assert len(times) == 100
    assert times == sorted(times)
    assert 0.4e9 < times[-1] - times[0] < 5e9


def test_a_flood_can_be_interrupted(host):
    hosted = host()
    hosted.prompt("flood 50000000")
    hosted.until(Emit, lambda emit: emit.type is EventType.TOOL_OUTPUT_CHUNK)

    hosted.say(Interrupt())

    assert hosted.until(TurnEnd).status is TurnStatus.CANCELLED


# --- memory


def test_an_unknown_conversation_ends_the_first_turn_as_stale(host):
    hosted = host(agent_session_id="demo-lost")

    end = hosted.turn("recall")

    assert DemoDriver().is_stale(end)
    assert hosted.to_end().code == 1


def test_a_turn_cut_off_by_a_crash_is_remembered(host):
    first = host()
    first.turn("say I am in turn one; crash")

    second = host(session=first.options.session, agent_session_id=first.all(Ready)[0].agent_session_id)
    second.turn("recall 1")

    assert "In turn 1 you said: say I am in turn one" in second.texts()


def test_two_prompts_at_once_are_two_turns(host):
    hosted = host()

    hosted.say(Prompt("trn_a", "say one"))
    hosted.say(Prompt("trn_b", "say two"))

    assert [hosted.until(TurnEnd).result_text, hosted.until(TurnEnd).result_text] == ["one", "two"]


def test_an_interrupt_right_behind_its_prompt_hits_that_turn(host):
    hosted = host()
    hosted.until(Ready)
    started = time.monotonic()

    hosted.prompt("sleep 60")
    hosted.say(Interrupt())

    assert hosted.until(TurnEnd).status is TurnStatus.CANCELLED
    assert time.monotonic() - started < 5


def test_bad_lines_on_stdin_are_told_and_passed_over(host):
    hosted = host()

    hosted.process.stdin.write(b'{oops\n[1]\n{"type":"tea"}\n{"type":"control_request","request_id":1}\n')
    hosted.turn("say still here")

    told = [data["message"] for data in hosted.events(EventType.ERROR)]
    assert [word in message for word, message in zip(["JSON", "list", "'tea'"], told, strict=False)] == [True] * 3
    assert "still here" in hosted.texts()
