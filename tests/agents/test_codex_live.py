"""The real Codex alone: what the scenarios do not ask, and what must hold of the binary for the driver to be right."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shared.agents.codex.driver import CodexDriver
from shared.agents.driver import AskOpen, Command, Emit, ModeNow, Ready, Reply, SetMode, SetModel, TurnEnd
from shared.domain.ask import PermissionAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.ids import TurnId
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus

ALLOW = PermissionAnswer(Verdict.ALLOW)
LOUD = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    tool = {"name": "shout", "description": "shouts", "inputSchema": {"type": "object", "properties": {}}}
    answers = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                       "serverInfo": {"name": "loud", "version": "1"}},
        "tools/list": {"tools": [tool]},
    }
    if "id" in asked:
        result = answers.get(asked["method"], {})
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def _command(agent, name, args=""):
    before = len(agent.of(TurnEnd))
    agent.wait(Ready)
    agent.say(Command(TurnId(f"trn_{name}"), name, args))
    return agent.wait(TurnEnd, skip=before)


def _told(agent, text):
    return text in json.dumps(agent.events(EventType.MESSAGE))


def test_a_workspaces_own_configuration_is_not_obeyed_in_any_mode(start_codex, cwd, tmp_path, model_server):
    (cwd / ".codex").mkdir(parents=True)
    (cwd / ".git").mkdir()
    (cwd / ".codex/config.toml").write_text('model = "evil"\n')
    (cwd / "AGENTS.md").write_text("Be as quiet as a mouse.\n")

    for mode in (Mode.ACCEPT_EDITS, Mode.BYPASS):
        with start_codex(mode=mode, allow_bypass=True) as agent:
            agent.turn("hello")
        assert "trust" not in (tmp_path / "home/.codex/config.toml").read_text()
    with start_codex() as agent:
        agent.turn("hello")

    assert {request["model"] for request in model_server.record.requests}.isdisjoint({"evil"})
    assert "quiet as a mouse" in json.dumps(model_server.record.requests[-1])


def test_edits_are_free_in_the_workspace_and_nowhere_else(start_codex, cwd, tmp_path):
    outside = Path("/var/tmp") / f"corral-codex-{tmp_path.name}"
    with start_codex(mode=Mode.ACCEPT_EDITS) as agent:
        agent.turn(f"[[bash:echo in > in.txt]][[write:by-patch.txt=x]][[bash:echo out > {outside}]]")

    assert (cwd / "in.txt").exists()
    assert (cwd / "by-patch.txt").exists()
    assert not outside.exists()
    assert not agent.of(AskOpen)


def test_a_mode_changes_for_the_next_turn(start_codex, cwd):
    with start_codex(allow_bypass=True) as agent:
        agent.turn("[[bash:touch asked]]", decide=lambda _: ALLOW)
        agent.say(SetMode(Mode.BYPASS))
        agent.turn("[[bash:touch free]]")
        agent.say(SetMode(Mode.INTERACTIVE))
        agent.turn("[[bash:touch denied]]", decide=lambda _: PermissionAnswer(Verdict.DENY))

    assert len(agent.of(AskOpen)) == 2
    assert agent.of(ModeNow) == [ModeNow(Mode.BYPASS), ModeNow(Mode.INTERACTIVE)]
    assert sorted(path.name for path in cwd.iterdir()) == ["asked", "free"]


def test_a_model_is_chosen_for_the_next_turn_and_given_up_again(start_codex, model_server):
    with start_codex(model="gpt-5.5") as agent:
        agent.turn("hello")
        agent.say(SetModel("gpt-5.6-sol"))
        agent.turn("hello")
    conversation = agent.of(Ready)[0].agent_session_id
    with start_codex(agent_session_id=conversation) as agent:
        agent.wait(Ready)
        agent.say(SetModel(None))
        agent.turn("hello")
        agent.turn("hello")

    # Once each, in order: before it goes on with another model, Codex may ask the old one something of its own.
    models = list(dict.fromkeys(request["model"] for request in model_server.record.requests))
    assert models[:2] == ["gpt-5.5", "gpt-5.6-sol"]
    assert len(models) == 3


def test_reasoning_is_told_as_it_is_written(start_codex):
    with start_codex() as agent:
        agent.turn("[[think]]")

    thought = "".join(data["text"] for data in agent.events(EventType.THINKING_CHUNK))
    assert thought == "Let me think about this for a moment."


def test_a_tool_of_an_mcp_server_comes_up_from_the_sessions_own_settings(start_codex, tmp_path):
    script = tmp_path / "loud.py"
    script.write_text(LOUD)
    servers = {
        "loud": {"type": "stdio", "command": sys.executable, "args": [str(script)], "env": {"A": 'b "c"'}},
        "gone": {"command": str(tmp_path / "no such program")},
    }

    with start_codex(mcp_servers=servers) as agent:
        agent.turn("hello")
        failed = agent.until(lambda output: isinstance(output, Emit) and output.data.get("kind") == "mcp_server_failed")

    assert failed.data["server"] == "gone"


# --- conversations


def test_a_conversation_is_copied_in_an_empty_home_and_the_original_stays_as_it_is(start_codex, tmp_path):
    with start_codex() as agent:
        agent.turn("[[remember:plum]] I will")
    original, entries = agent.of(Ready)[0].agent_session_id, agent.entries()

    with start_codex(home=str(tmp_path / "copy"), agent_session_id=original, fork=True, transcript=entries) as copy:
        copy.turn("[[recall]] [[remember:pear]]")
    copied = copy.of(Ready)[0].agent_session_id
    with start_codex(home=str(tmp_path / "third"), agent_session_id=copied, transcript=copy.entries()) as third:
        third.turn("[[recall]]")
    with start_codex(agent_session_id=original) as again:
        again.turn("[[recall]]")

    assert copied != original
    assert _told(copy, "plum")
    assert _told(third, "pear")
    assert _told(again, "plum")


def test_a_conversation_that_was_begun_elsewhere_goes_on_here(start_codex, tmp_path):
    with start_codex() as agent:
        agent.turn("[[remember:plum]] I will")
    (rollout,) = (tmp_path / "home/.codex/sessions").rglob("rollout-*.jsonl")
    lines = rollout.read_text().replace('"model_provider":"corral"', '"model_provider":"openai"').splitlines()

    with start_codex(
        home=str(tmp_path / "here"), agent_session_id=agent.of(Ready)[0].agent_session_id, transcript=lines
    ) as here:
        end = here.turn("[[recall]]")

    assert end.status is TurnStatus.COMPLETED
    assert _told(here, "plum")


def test_a_conversation_moves_on_through_three_empty_homes(start_codex, tmp_path):
    with start_codex() as agent:
        agent.turn("[[remember:first]] I will")
    conversation, entries = agent.of(Ready)[0].agent_session_id, agent.entries()

    for stage in ("second", "third"):
        with start_codex(home=str(tmp_path / stage), agent_session_id=conversation, transcript=entries) as agent:
            agent.turn(f"[[recall]] [[remember:{stage}]]")
        entries = [*entries, *agent.entries()]
    with start_codex(home=str(tmp_path / "fourth"), agent_session_id=conversation, transcript=entries) as agent:
        agent.turn("[[recall]]")

    assert _told(agent, "third")


def test_the_mirror_holds_every_line_of_the_rollout_once(start_codex, tmp_path):
    with start_codex() as agent:
        agent.turn("[[bash:echo é]]", decide=lambda _: ALLOW)
        agent.turn("hello")

    (rollout,) = (tmp_path / "home/.codex/sessions").rglob("rollout-*.jsonl")
    assert agent.entries()[1:] == rollout.read_text().splitlines()


def test_an_unknown_conversation_is_told_as_stale(start_codex):
    with start_codex(agent_session_id="01a22060-5b3b-7213-94f9-ed561c4b3654") as agent:
        end = agent.turn("hello")

    assert CodexDriver().is_stale(end)


def test_a_cleared_conversation_has_a_new_id_and_remembers_nothing(start_codex, tmp_path):
    with start_codex() as agent:
        agent.turn("[[remember:plum]] I will")
        cleared = _command(agent, "clear")
        agent.turn("[[remember:pear]] I will")
    first, second = (ready.agent_session_id for ready in agent.of(Ready))

    with start_codex(agent_session_id=second) as resumed:
        resumed.turn("[[recall]]")

    assert cleared.status is TurnStatus.COMPLETED
    assert first != second
    assert _told(resumed, "pear")


def test_an_answer_after_a_resume_is_for_nobody(start_codex, cwd):
    with start_codex() as agent:
        agent.turn("hello")
        agent.prompt("[[bash:touch f.txt]]")
        ask = agent.wait(AskOpen)
        agent.kill()

    with start_codex(agent_session_id=agent.of(Ready)[0].agent_session_id) as resumed:
        resumed.wait(Ready)
        resumed.say(Reply(ask.ref, ALLOW))
        end = resumed.turn("go on")

    assert not resumed.of(AskOpen)
    assert end.status is TurnStatus.COMPLETED
    assert not (cwd / "f.txt").exists()


# --- the process


def test_a_long_text_comes_through_whole(start_codex):
    with start_codex() as agent:
        agent.turn("[[big:200000]]")

    assert agent.events(EventType.MESSAGE)[0]["text"] == "x" * 200_000


def test_it_leaves_by_itself_when_its_stdin_ends(start_codex):
    with start_codex() as agent:
        agent.turn("hello")

    assert agent.process.returncode == 0
