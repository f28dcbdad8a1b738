"""How the demo agent misbehaves on request, and how it ends: what fault tests build on."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from shared.agents.driver import AskOpen, Emit, Interrupt, Ready, TurnEnd
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.fixtures.pids import is_running
from tests.fixtures.waiting import eventually


def results(hosted):
    return hosted.events(EventType.TOOL_RESULT)


def _number(path: Path) -> int:
    return int(path.read_text() or 0) if path.exists() else 0


# --- long lines


def test_a_long_line_has_the_length_that_was_asked_for(host):
    hosted = host()

    hosted.turn("long 1000000")

    (line,) = [step["line"] for step in hosted.steps if len(step.get("line", "")) > 100_000]
    assert len(line) == 1_000_000


def test_a_line_above_the_limit_is_told_and_the_turn_ends(host):
    hosted = host(line_limit=100_000)

    end = hosted.turn("long 300000; say on we go")

    (notice,) = hosted.events(EventType.NOTICE)
    assert (notice["kind"], notice["dropped_bytes"]) == ("line_cut", 200_000)
    assert end.status is TurnStatus.COMPLETED


def test_an_ask_above_the_limit_is_denied_and_the_turn_ends(host):
    hosted = host(line_limit=100_000)

    end = hosted.turn("long-ask 300000; say on we go")

    assert not hosted.asks()
    assert results(hosted)[0]["is_error"]
    assert end.status is TurnStatus.COMPLETED


# --- ends


@pytest.mark.parametrize(
    ("how", "code", "number"), [("", 1, None), ("42", 42, None), ("KILL", None, 9), ("SIGSEGV", None, 11)]
)
def test_a_crash_ends_the_process_as_told(host, how, code, number):
    hosted = host()

    end = hosted.turn(f"say before; crash {how}")

    assert (hosted.status.code, hosted.status.signal) == (code, number)
    assert "crashing as told" in end.error


def test_the_last_line_counts_without_its_newline(host):
    hosted = host()

    end = hosted.turn("say done; unfinished")

    assert end.status is TurnStatus.COMPLETED
    assert hosted.to_end().code == 0


def test_an_exit_comes_after_the_turn(host):
    hosted = host()

    end = hosted.turn("exit 4")

    assert end.status is TurnStatus.COMPLETED
    assert hosted.to_end().code == 4


def test_an_idle_agent_leaves_when_its_stdin_ends(host):
    hosted = host()
    hosted.until(Ready)

    assert hosted.hang_up().code == 0


def test_the_running_turn_is_finished_when_stdin_ends(host):
    hosted = host()
    hosted.prompt("sleep 0.1; say finished")

    hosted.hang_up()

    assert "finished" in hosted.texts()
    assert hosted.all(TurnEnd)[0].status is TurnStatus.COMPLETED


def test_a_turn_that_waits_for_a_human_ends_when_stdin_does(host):
    hosted = host()
    hosted.prompt("ask Anybody there?")
    hosted.until(AskOpen)

    hosted.hang_up()

    assert hosted.all(TurnEnd)[0].stop_reason == "host_gone"


def test_sigterm_ends_it_with_its_command(host):
    hosted = host(Mode.BYPASS)
    hosted.prompt("run echo $$\\; sleep 60")
    pid = int(hosted.until(Emit, lambda emit: emit.type is EventType.TOOL_OUTPUT_CHUNK).data["text"])

    status = hosted.kill(signal.SIGTERM)

    assert status.code == 143
    eventually(lambda: not is_running(pid), about=f"the end of {pid}")


def test_a_hanging_agent_ignores_interrupts_and_leaves_with_its_host(host):
    hosted = host()
    hosted.prompt("hang")
    hosted.until(Emit, lambda emit: emit.type is EventType.THINKING_CHUNK)
    hosted.say(Interrupt())

    hosted.hang_up()

    assert hosted.all(TurnEnd)[0].stop_reason == "host_gone"


def test_a_stubborn_agent_counts_on_through_eof_and_sigterm_until_it_is_killed(host):
    hosted = host()
    counter = Path(hosted.options.cwd, "n.txt")
    hosted.prompt("ignore-term; count n.txt 5")
    eventually(lambda: _number(counter) > 0)

    hosted.process.stdin.close()
    hosted.process.send_signal(signal.SIGTERM)
    hosted.process.send_signal(signal.SIGHUP)

    seen = _number(counter)
    eventually(lambda: _number(counter) > seen + 10)
    assert hosted.kill(signal.SIGKILL).signal == 9


def test_a_counting_agent_leaves_with_its_host(host):
    hosted = host()
    hosted.prompt("count n.txt 5")
    eventually(lambda: _number(Path(hosted.options.cwd, "n.txt")) > 0)

    assert hosted.hang_up().code == 0


@pytest.mark.parametrize("word", ["orphan", "orphan-holding"])
def test_an_orphan_outlives_its_agent(host, word):
    hosted = host()
    counter = Path(hosted.options.cwd, "n.txt")
    hosted.turn(f"{word} n.txt")
    pid = int(re.search(r"\d+", results(hosted)[0]["output"]).group())

    try:
        hosted.process.kill()
        hosted.process.wait(10)

        seen = _number(counter)
        eventually(lambda: _number(counter) > seen + 2)
        assert os.getsid(pid) != os.getsid(0)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_an_agent_that_cannot_keep_its_memory_says_so_and_leaves(host):
    hosted = host()
    hosted.until(Ready)
    (transcript,) = Path(hosted.options.home, ".corral-demo").iterdir()
    transcript.unlink()
    transcript.mkdir()

    end = hosted.turn("say hello")

    assert hosted.status.code == 1
    assert "cannot go on" in end.error
    assert "Traceback" not in end.error
