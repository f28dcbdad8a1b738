"""The way to a conversation over ACP: logins, resuming, modes and models, and what goes wrong on it."""

from __future__ import annotations

import pytest

from shared.agents.driver import ModeNow, Ready, SetMode, SetModel
from shared.agents.registry import find
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.fixtures.acp_talk import MODES, Talk, ends, of, said, told

LOADS = {"agentCapabilities": {"loadSession": True}}
RESUMES = {"agentCapabilities": {"loadSession": True, "sessionCapabilities": {"resume": {}}}}
CONFIG = [
    {"id": "m", "category": "mode", "currentValue": "default", "options": [{"value": "default"}, {"value": "plan"}]},
    {"id": "llm", "category": "model", "currentValue": "small", "options": [{"value": "small"}, {"value": "large"}]},
]


def test_a_prompt_that_comes_early_waits_for_the_conversation():
    talk = Talk()

    early = talk.prompt("hello")
    talk.up()

    assert early == []
    assert talk.asked()["method"] == "session/prompt"
    assert talk.asked()["params"] == {"sessionId": "s1", "prompt": [{"type": "text", "text": "hello"}]}
    assert of(talk.outputs, Ready) == [Ready("s1", None, "1.0")]


def test_it_offers_no_files_and_no_terminal():
    (hello,) = said(Talk().outputs)

    assert hello["params"]["clientCapabilities"] == {
        "fs": {"readTextFile": False, "writeTextFile": False},
        "terminal": False,
        "elicitation": {"form": {}},
    }


def test_another_version_of_the_protocol_is_said_in_the_turn():
    talk = Talk()
    talk.prompt()

    outputs = talk.result(protocolVersion=2)

    (end,) = ends(outputs)
    assert end.status is TurnStatus.FAILED
    assert "version 2" in str(end.error)


def test_a_login_is_tried_when_it_is_asked_for():
    talk = Talk("gemini")
    talk.introduced(authMethods=[{"id": "oauth-personal"}, {"id": "gemini-api-key"}])
    talk.error(-32000, "Gemini API key is missing")
    login = talk.asked()
    talk.result()
    talk.result(sessionId="s1", modes=MODES)

    assert (login["method"], login["params"]) == ("authenticate", {"methodId": "gemini-api-key"})
    assert len(of(talk.outputs, Ready)) == 1


def test_a_login_nobody_can_give_ends_each_turn_with_the_ways_there_are():
    talk = Talk()
    talk.introduced(authMethods=[{"id": "browser"}])
    talk.prompt()

    first = talk.error(-32000, "log in first")
    second = talk.prompt()

    assert [end.status for end in (*ends(first), *ends(second))] == [TurnStatus.FAILED] * 2
    assert "log in first" in str(ends(second)[0].error)
    assert "browser" in str(ends(second)[0].error)
    assert len(of(talk.outputs, Ready)) == 1


def test_cursor_logs_in_first_and_goes_on_where_it_is_logged_in_already():
    talk = Talk("cursor")
    talk.introduced(authMethods=[{"id": "cursor_login"}])
    first = talk.asked()["method"]
    talk.error(-32603, "already")

    assert (first, talk.asked()["method"]) == ("authenticate", "session/new")


@pytest.mark.parametrize(("can", "method"), [(LOADS, "session/load"), (RESUMES, "session/resume")])
def test_a_conversation_is_resumed_without_a_replay_where_the_agent_can(can, method):
    talk = Talk(agent_session_id="old")
    talk.introduced(**can)

    assert talk.asked()["method"] == method
    assert talk.asked()["params"]["sessionId"] == "old"


def test_a_replay_is_not_told_again():
    talk = Talk(agent_session_id="old")
    talk.introduced(**LOADS)

    replay = talk.text("said long ago") + talk.update("tool_call", toolCallId="c0", title="x", status="completed")
    talk.result(modes=MODES)
    news = talk.text("new")

    assert replay == []
    assert told(news, EventType.MESSAGE_CHUNK)[0]["text"] == "new"
    assert of(talk.outputs, Ready) == [Ready("old", None, "1.0")]


def test_a_conversation_that_is_unknown_is_stale():
    talk = Talk(agent_session_id="old")
    talk.introduced(**LOADS)

    (end,) = ends(talk.error(-32603, "Internal error"))

    assert find("acp").is_stale(end)
    assert not of(talk.outputs, Ready)


def test_an_agent_that_cannot_resume_begins_afresh():
    talk = Talk(agent_session_id="old")

    (end,) = ends(talk.introduced())

    assert find("acp").is_stale(end)


def test_mode_and_model_are_set_before_the_agent_is_ready():
    talk = Talk(mode=Mode.PLAN, model="large")
    talk.introduced()
    talk.result(sessionId="s1", configOptions=CONFIG)
    model = talk.asked()["params"]
    talk.result(configOptions=[{**CONFIG[1], "currentValue": "large"}])
    mode = talk.asked()["params"]
    before = of(talk.outputs, Ready)
    talk.result(configOptions=[])

    assert model == {"sessionId": "s1", "configId": "llm", "value": "large"}
    assert mode == {"sessionId": "s1", "configId": "m", "value": "plan"}
    assert before == []
    assert of(talk.outputs, Ready) == [Ready("s1", "large", "1.0")]


@pytest.mark.parametrize(
    ("wish", "problem"), [({"mode": Mode.PLAN}, "no mode for 'plan'"), ({"model": "large"}, "no choice of models")]
)
def test_what_the_agent_does_not_offer_is_never_passed_over(wish, problem):
    talk = Talk(**wish)
    talk.prompt()
    talk.introduced()

    (end,) = ends(talk.result(sessionId="s1"))

    assert end.status is TurnStatus.FAILED
    assert problem in str(end.error)


def test_a_mode_is_told_once_the_agent_has_it():
    talk = Talk().up()

    asked = talk.say(SetMode(Mode.PLAN))
    moved = talk.update("current_mode_update", currentModeId="plan")
    done = talk.result()
    left = talk.update("current_mode_update", currentModeId="default")

    assert said(asked)[0]["params"] == {"sessionId": "s1", "modeId": "plan"}
    assert of([*asked, *moved, *done], ModeNow)[-1] == ModeNow(Mode.PLAN)
    assert of(left, ModeNow) == [ModeNow(Mode.INTERACTIVE)]


def test_a_mode_the_agent_refuses_stays_as_it_was():
    talk = Talk().up()
    talk.say(SetMode(Mode.PLAN))

    outputs = talk.error(-32602, "not now")

    assert told(outputs, EventType.NOTICE) == [{"kind": "mode_refused", "message": "not now"}]
    assert of(outputs, ModeNow) == [ModeNow(Mode.INTERACTIVE)]


def test_bypass_is_refused_where_it_is_not_allowed():
    outputs = Talk().up().say(SetMode(Mode.BYPASS))

    assert of(outputs, ModeNow) == [ModeNow(Mode.INTERACTIVE)]
    assert not said(outputs)


def test_a_model_is_asked_for_in_the_older_form_where_there_is_no_other():
    models = {"currentModelId": "small", "availableModels": [{"modelId": "small"}, {"modelId": "large"}]}
    talk = Talk().up(models=models)

    chosen = said(talk.say(SetModel("large")))[0]
    back = said(talk.say(SetModel(None)))[0]

    assert (chosen["method"], chosen["params"]["modelId"]) == ("session/set_model", "large")
    assert back["params"]["modelId"] == "small"


def test_mcp_servers_go_with_the_session_and_those_out_of_reach_are_named():
    servers = {
        "files": {"command": "serve", "args": ["-v"], "env": {"A": "1"}},
        "far": {"type": "http", "url": "https://example.org/mcp", "headers": {"X": "1"}},
    }
    talk = Talk(mcp_servers=servers)

    outputs = talk.introduced()

    assert talk.asked()["params"]["mcpServers"] == [
        {"name": "files", "command": "serve", "args": ["-v"], "env": [{"name": "A", "value": "1"}]}
    ]
    assert told(outputs, EventType.NOTICE)[0]["server"] == "far"


def test_opencode_asks_for_everything_and_reads_no_configuration_of_the_workspace():
    environment = find("opencode").launch(Talk("opencode").dialogue._options).env

    assert '"*": "ask"' in environment["OPENCODE_PERMISSION"]
    assert environment["OPENCODE_DISABLE_PROJECT_CONFIG"] == "1"
    assert len(environment["OPENCODE_SERVER_PASSWORD"]) == 32
