"""`corral run` and its siblings against a real `corral up`: at a terminal, without one, and with bad input."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.fakes.webhook_receiver import receiving
from tests.fixtures.fleet import free_port
from tests.fixtures.terminal import CORRAL, Up, bare_env, corral, upped
from tests.fixtures.waiting import eventually

CTRL_C = "\x03"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with upped(tmp_path_factory.mktemp("up")) as running:
        yield running


def session_in(text: str) -> str:
    """The id that `corral run` tells first."""
    return text[text.index("[ses_") + 1 : text.index("]", text.index("[ses_"))]


# --- at a terminal ---------------------------------------------------------------------------------------------


def test_an_allowed_permission_lets_the_tool_run(up):
    with up.terminal("run", "run echo from-the-tool") as terminal:
        asked = terminal.until("allow, always or deny")
        terminal.type("allow\n")

        assert "May the agent use Bash?" in asked
        assert "echo from-the-tool" in asked
        terminal.until("from-the-tool\n")
        terminal.until("[completed: end_turn")
        assert terminal.status() == 0


def test_a_denied_permission_tells_the_agent_why(up):
    with up.terminal("run", "run echo from-the-tool; say going on") as terminal:
        terminal.until("allow, always or deny")
        terminal.type("deny\n")
        terminal.until("reason")
        terminal.type("not on a Friday\n")

        terminal.until("Denied: not on a Friday")
        terminal.until("going on")
        assert terminal.status() == 0


def test_a_permission_allowed_for_good_is_asked_for_once(up):
    with up.terminal("run", "run echo one; run echo two") as terminal:
        terminal.until("allow, always or deny")
        terminal.type("always\n")

        terminal.until("[completed: end_turn")
        assert terminal.status() == 0
        assert terminal.shown.count("May the agent use Bash?") == 1


@pytest.mark.parametrize(("typed", "heard"), [("2\n", "green"), ("mauve\n", "mauve")])
def test_a_question_is_answered_by_number_or_in_words(up, typed, heard):
    with up.terminal("run", "ask Which colour? | blue | green") as terminal:
        asked = terminal.until("number or text")
        terminal.type(typed)

        assert "Which colour?" in asked
        assert "2. green" in asked
        terminal.until("Which colour?")
        assert heard in terminal.until("[completed")


def test_a_question_takes_several_answers(up):
    with up.terminal("run", "ask-many Which colours? | red | green | blue") as terminal:
        terminal.until("separated by commas")
        terminal.type("1, 3\n")

        heard = terminal.until("[completed")
        assert "red" in heard
        assert "blue" in heard
        assert "green" not in heard


def test_a_plan_is_approved(up):
    with up.terminal("run", "--mode", "plan", "plan first look then leap; say after the plan") as terminal:
        assert "first look then leap" in terminal.until("approve?")
        terminal.type("y\n")

        terminal.until("after the plan")
        assert terminal.status() == 0


def test_a_rejected_plan_carries_what_should_change(up):
    with up.terminal("run", "--mode", "plan", "plan leap; say after the plan") as terminal:
        terminal.until("approve?")
        terminal.type("n\n")
        terminal.until("what should change")
        terminal.type("look first\n")

        terminal.until("look first", timeout_s=5)
        rest = terminal.until("[completed")
        assert "after the plan" not in rest


def test_a_prompt_with_a_checkpoint_is_put_to_the_person_first(up):
    with up.terminal("run", "confirm: say it ran") as terminal:
        asked = terminal.until("run it?")
        terminal.type("n\n")
        rest = terminal.until("[cancelled: denied")

        assert "Shall this prompt run?" in asked
        assert "say it ran" in asked
        assert "it ran" not in rest


def test_ctrl_c_cancels_the_turn_and_the_session_lives_on(up):
    with up.terminal("run", "say begun; sleep 60") as terminal:
        session = session_in(terminal.until("begun"))
        terminal.type(CTRL_C)

        terminal.until("cancelling")
        terminal.until("[cancelled: ")
        assert terminal.status() == 1
    assert up.client.session(session, "idle")
    assert up.corral("run", "--session", session, "say still here").stdout.count("still here") == 1


def test_ctrl_c_at_a_question_cancels_the_turn(up):
    with up.terminal("run", "ask Which colour? | blue") as terminal:
        session = session_in(terminal.until("number or text"))
        terminal.until_it_listens()
        terminal.type(CTRL_C)

        terminal.until("[cancelled: ")
        assert terminal.status() == 1
    assert [ask["status"] for ask in up.client.get(f"/sessions/{session}/asks")["data"]] == ["lost"]


def test_a_second_ctrl_c_leaves_and_says_where_to_look(up):
    with up.terminal("run", "say begun; ignore-interrupt; sleep 60") as terminal:
        session = session_in(terminal.until("begun"))
        terminal.type(CTRL_C)
        terminal.until("cancelling")
        terminal.type(CTRL_C)

        terminal.until(f"corral logs --follow {session}")
        assert terminal.status() == 130
    up.client.post(f"/sessions/{session}/terminate")


def test_what_an_agent_prints_moves_no_cursor(up):
    with up.terminal("run", "say harmless \x1b[2J\x1b[HMay the agent use Nothing?") as terminal:
        terminal.until(r"harmless \x1b[2J\x1b[HMay")
        assert terminal.status() == 0
        assert "\x1b[2J" not in terminal.shown


# --- without one -----------------------------------------------------------------------------------------------


def test_the_agents_words_go_to_stdout_and_everything_else_to_stderr(up):
    ran = up.corral("run", "say for the pipe")

    assert ran.returncode == 0
    assert ran.stdout == "for the pipe\n"
    assert "[completed: end_turn" in ran.stderr


def test_an_ask_without_a_terminal_says_how_to_answer_it(up):
    running = subprocess.Popen(
        [*CORRAL, "run", "--home", str(up.home), "run echo from-the-tool"],
        cwd=up.folder,
        env=bare_env(up.folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr
    assert running.stdout
    told = iter(running.stderr.readline, "")
    advice = next(line for line in told if line.strip().startswith("curl"))
    expiry = next(told)

    subprocess.run(
        ["bash", "-c", advice.strip()],
        env={"PATH": os.environ["PATH"], "CORRAL_KEY": up.client.key},
        check=True,
        capture_output=True,
    )

    assert "Without one it is denied at 20" in expiry
    assert "from-the-tool" in running.stdout.read()
    running.stderr.read()
    assert running.wait(30) == 0


def test_an_ask_nobody_may_answer_is_denied_at_once(up):
    ran = up.corral("run", "--on-ask", "deny", "run echo x; ask Which? | this; say going on")

    assert ran.returncode == 0
    assert "[denied: may the agent use Bash?]" in ran.stderr
    assert "Nobody is there to allow it." in ran.stdout
    assert ran.stdout.endswith("going on\n")


def test_ctrl_c_of_a_program_that_runs_it_cancels_the_turn(up):
    running = subprocess.Popen(
        [*CORRAL, "run", "--home", str(up.home), "say begun; sleep 60"],
        cwd=up.folder,
        env=bare_env(up.folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout
    assert running.stdout.readline() == "begun\n"

    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)

    assert "[cancelled: " in told
    assert running.returncode == 1


def test_a_failed_turn_is_status_1(up):
    ran = up.corral("run", "error out of luck")

    assert ran.returncode == 1
    assert "out of luck" in ran.stderr


def test_a_session_that_could_not_start_says_why_and_does_not_go_on(up):
    ran = up.corral("run", "--workspace", "/etc", "say x")

    assert ran.returncode == 1
    assert "CORRAL_ALLOWED_FOLDERS" in ran.stderr
    assert "The session goes on" not in ran.stderr


# --- sessions, logs, terminate ---------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended_ones_on_demand(up):
    kept = session_in(up.corral("run", "say kept").stderr)
    gone = session_in(up.corral("run", "say gone").stderr)

    ended = up.corral("terminate", gone)

    assert (ended.returncode, ended.stdout) == (0, f"{gone} is ending.\n")
    up.client.session(gone, "ended")
    shown = up.corral("sessions").stdout
    assert kept in shown
    assert gone not in shown
    assert gone in up.corral("sessions", "--all").stdout


def test_logs_show_a_session_from_its_beginning(up):
    session = session_in(up.corral("run", "say first").stderr)
    up.corral("run", "--session", session, "say second")

    assert up.corral("logs", session).stdout == "first\nsecond\n"


def test_logs_that_follow_end_with_the_session(up):
    session = session_in(up.corral("run", "say first").stderr)
    with up.terminal("logs", "--follow", session) as terminal:
        terminal.until("first")
        up.corral("terminate", session)

        terminal.until("[session ended: terminated]")
        assert terminal.status() == 0


# --- bad input -------------------------------------------------------------------------------------------------

STRANGER = "ses_" + "0" * 25
CASES = [
    pytest.param(["logs", STRANGER], {}, 1, f"There is no session {STRANGER}.", id="unknown session"),
    pytest.param(["terminate", STRANGER], {}, 1, f"There is no session {STRANGER}.", id="nothing to terminate"),
    pytest.param(["run", "--session", STRANGER, "x"], {}, 1, "There is no session", id="nothing to go on with"),
    pytest.param(["logs", "../../x"], {}, 2, "is no session id", id="no id at all"),
    pytest.param(["run", "--agent", "hal9000", "x"], {}, 1, "Known: acp, claude", id="unknown agent"),
    pytest.param(["run", "--mode", "reckless", "x"], {}, 2, "'reckless' is not one of", id="unknown mode"),
    pytest.param(["run", "--mode", "bypass", "x"], {}, 1, "bypass", id="a mode the operator forbids"),
    pytest.param(["run", ""], {}, 1, "prompt", id="an empty prompt"),
    pytest.param(["run"], {}, 2, "Missing argument", id="no prompt"),
    pytest.param(["sessions"], {"CORRAL_KEY": "crl_" + "x" * 38}, 1, "unknown, revoked or expired", id="wrong key"),
    pytest.param(["sessions"], {"CORRAL_KEY": "crl_\u20ac"}, 1, "is no API key", id="a key that is none"),
    pytest.param(["sessions"], {"CORRAL_URL": "nonsense"}, 1, "cannot be reached at nonsense", id="no URL"),
    pytest.param(["sessions"], {"CORRAL_URL": "http://127.0.0.1:1"}, 1, "Does it run?", id="API away"),
    pytest.param(["sessions", "--home", "nowhere"], {}, 1, "Start it with `corral up`", id="nothing runs there"),
]


@pytest.mark.parametrize(("arguments", "env", "status", "words"), CASES)
def test_bad_input_gives_a_clear_line_and_a_status(up, arguments, env, status, words):
    ran = up.corral(*arguments, **env)

    assert ran.returncode == status
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    assert len(ran.stderr.strip().splitlines()) <= (2 if status == 1 else 5)


def test_a_server_that_is_not_corral_is_told_as_such(tmp_path):
    with receiving() as other:
        ran = corral("sessions", cwd=tmp_path, CORRAL_URL=other.url(""), CORRAL_KEY="crl_x")

    assert ran.returncode == 1
    assert "is not Corral" in ran.stderr


def test_a_netrc_of_the_user_replaces_no_key(up):
    netrc = up.folder / ".netrc"
    netrc.write_text("machine 127.0.0.1 login nobody password nothing\n")
    netrc.chmod(0o600)
    try:
        assert up.corral("sessions").returncode == 0
    finally:
        netrc.unlink()


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(up):
    ran = up.corral("sessions", http_proxy=f"http://127.0.0.1:{free_port()}")

    assert ran.returncode == 0


def test_a_key_of_the_command_line_works_and_can_do_what_it_may(up):
    made = up.corral("key", "create", "--scope", "read", "--name", "a reader")

    assert made.returncode == 0
    assert up.corral("sessions", CORRAL_KEY=made.stdout.strip()).returncode == 0
    refused = up.corral("run", "say x", CORRAL_KEY=made.stdout.strip())
    assert refused.returncode == 1
    assert "write" in refused.stderr


def test_a_key_for_a_tenant_sees_nothing_of_another(up):
    up.corral("run", "say mine")
    key = up.corral("key", "create", "--tenant", "ten_other").stdout.strip()

    assert up.corral("sessions", "--all", CORRAL_KEY=key).stdout == ""
    assert up.corral("key", "create", "--tenant", "other").returncode == 2


def test_the_log_of_corral_up_tells_the_first_key_once_and_no_other_secret(up):
    secret = (up.home / "secret_key").read_text().strip()
    hook = up.client.post("/webhooks", {"url": f"http://127.0.0.1:{free_port()}/x"})["secret"]
    up.corral("run", "say x", CORRAL_KEY=up.client.key)

    log = eventually(lambda: up.log.read_text(errors="replace"))

    assert log.count(up.client.key) == 1
    assert secret not in log
    assert hook not in log
    assert shlex.quote(str(up.home / "api_key")) in log
    assert json.dumps(hook) not in log
