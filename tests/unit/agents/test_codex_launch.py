"""How Codex is started: its configuration, and the conversation that is laid down for it."""

from __future__ import annotations

import dataclasses
import json
import tomllib

import pytest

from shared.agents.codex import rollout
from shared.agents.codex.driver import CodexDriver
from tests.fixtures.codex_talk import OPTIONS

ID = "01a22060-5b3b-7213-94f9-ed561c4b3654"
META = json.dumps({"timestamp": "2026-11-28T04:18:35.456Z", "type": "session_meta", "payload": {"id": ID}})
PLACE = ".codex/sessions/2026/11/28/rollout-2026-11-28T05-18-35-x.jsonl"
MARK = json.dumps({"type": "corral_rollout", "path": PLACE}, separators=(",", ":"))


def launched(**changes):
    return CodexDriver().launch(dataclasses.replace(OPTIONS, **changes))


def config_of(launch):
    (file,) = (file for file in launch.files if file.path == ".codex/config.toml")
    return tomllib.loads(file.content.decode())


def test_it_is_started_as_a_server_with_a_home_of_its_own_and_does_not_phone_home():
    launch = launched(command=["codex", "-c", "model=x"])

    config = config_of(launch)
    assert launch.argv == ["codex", "-c", "model=x", "app-server", "--disable", "plugins"]
    assert launch.env == {"CODEX_HOME": "/home/agent/.codex", "HOME": "/home/agent"}
    assert config["analytics"]["enabled"] is config["check_for_update_on_startup"] is False
    assert not [name for name in ("apps", "goals", "plugins") if config["features"][name]]
    assert config["features"]["default_mode_request_user_input"] is config["tools"]["update_plan"]["enabled"] is True
    assert config["model_providers"][config["model_provider"]]["env_key"] == "OPENAI_API_KEY"


def test_mcp_servers_stand_in_the_configuration_whatever_is_in_their_words():
    odd = 'a "quoted"\nline \x7f \x01 𝄞 \ud800'
    servers = {
        "local.one": {"command": "run", "args": ["-x", odd], "env": {"A B": odd, "N": None}, "type": "stdio"},
        'far "away"': {
            "type": "http",
            "url": "https://x",
            "headers": {"Key": "t"},
            "startup_timeout_sec": 9.5,
        },
        "on": {"command": "x", "enabled": True, "tool_timeout_sec": 3},
        "nothing": None,
    }

    config = config_of(launched(mcp_servers=servers))["mcp_servers"]

    said = odd.replace("\ud800", "?")
    assert config == {
        "local.one": {"command": "run", "args": ["-x", said], "env": {"A B": said}},
        'far "away"': {"url": "https://x", "http_headers": {"Key": "t"}, "startup_timeout_sec": 9.5},
        "on": {"command": "x", "enabled": True, "tool_timeout_sec": 3},
    }


def test_a_mirrored_conversation_is_laid_down_where_it_lay():
    launch = launched(agent_session_id=ID, transcript=[MARK, META, '{"type":"a"}', '{"type":"b"}', '{"type":"a"}'])

    _, file = launch.files
    assert file.path == PLACE
    assert file.content.decode() == f'{META}\n{{"type":"a"}}\n{{"type":"b"}}\n'
    assert file.keep_longer
    assert launch.mirrored_paths == [PLACE]
    assert launch.agent_session_id == ID


def test_a_copy_does_not_take_its_originals_place_in_the_mirror():
    launch = launched(agent_session_id=ID, fork=True, transcript=[MARK, META])

    assert launch.files[1].path == PLACE
    assert launch.mirrored_paths == []
    assert launch.agent_session_id is None


def test_a_conversation_from_elsewhere_is_laid_down_under_its_id():
    launch = launched(agent_session_id=ID, transcript=[META])

    assert launch.files[1].path == f".codex/sessions/2026/11/28/rollout-2026-11-28T04-18-35-{ID}.jsonl"


@pytest.mark.parametrize("path", ["/etc/passwd", ".codex/sessions/../../x.jsonl", ".codex/config.toml", "", 7])
def test_a_place_outside_of_the_sessions_is_not_believed(path):
    mark = json.dumps({"type": "corral_rollout", "path": path}, separators=(",", ":"))

    known = rollout.read(ID, [mark, META])

    assert known.path == f".codex/sessions/2026/11/28/rollout-2026-11-28T04-18-35-{ID}.jsonl"


@pytest.mark.parametrize("conversation", ["../../../etc/cron.d/x", "a/b", "", "x" * 65])
def test_an_id_never_becomes_a_path(conversation):
    path = rollout.read(conversation or None, ['{"type":"a"}']).path

    assert path in ("", ".codex/sessions/2025/01/01/rollout-2025-01-01T00-00-00-unknown.jsonl")


def test_without_a_mirror_nothing_is_laid_down():
    assert [file.path for file in launched(agent_session_id=ID).files] == [".codex/config.toml"]
    assert [file.path for file in launched(transcript=[META]).files] == [".codex/config.toml"]


def test_what_is_mirrored_is_what_is_laid_down_again():
    mirror = rollout.Mirror("/home/agent")
    mirror.begin(f"/home/agent/{PLACE}")
    first, more = mirror.take({"exitCode": 0, "stdout": f'{META}\n{{"type":"é"}}\n{{"ty'})
    asked = mirror.next()
    second, _ = mirror.take({"exitCode": 0, "stdout": '{"type":"b"}\nnot json\n'})

    known = rollout.read(ID, [*first, *second])

    assert not more
    assert asked["command"][2] == f"+{len(known.content) - len(second[0])}"
    assert known.path == PLACE
    assert known.content.decode() == f'{META}\n{{"type":"é"}}\n{{"type":"b"}}\n'


def test_a_long_conversation_is_read_in_pieces():
    mirror = rollout.Mirror("/home/agent")
    mirror.begin(f"/home/agent/{PLACE}")
    line = json.dumps({"type": "x" * 1000})
    many = f"{line}\n" * (rollout.READ_BYTES // len(line) + 1)

    entries, more = mirror.take({"exitCode": 0, "stdout": many[: rollout.READ_BYTES]})

    assert more
    assert entries[1:] == [line] * (len(entries) - 1)


def test_a_line_beyond_all_measure_ends_the_mirror_and_not_the_turn():
    mirror = rollout.Mirror("/home/agent")
    mirror.begin("/home/agent/x.jsonl")

    assert mirror.take({"exitCode": 0, "stdout": "x" * 100}) == ([], False)
    assert mirror.next() is None
