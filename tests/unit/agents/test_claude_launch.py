"""How Claude Code is started: what it is told, what it may read, and where its transcript must lie."""

from __future__ import annotations

import dataclasses
import json

import pytest

from shared.agents.claude.driver import ClaudeDriver
from shared.agents.driver import LaunchOptions
from shared.agents.registry import find
from shared.domain.ids import SessionId
from shared.domain.session import Mode

OPTIONS = LaunchOptions(
    session=SessionId("ses_1"),
    command=["/opt/claude", "--leading"],
    cwd="/srv/my_repo.git",
    home="/var/homes/1",
    mode=Mode.INTERACTIVE,
    model=None,
    agent_session_id=None,
)
ID = "06a54eb6-53bf-4bb7-b59c-83d95ad7fcbb"


def _launch(**changes):
    return ClaudeDriver().launch(dataclasses.replace(OPTIONS, **changes))


def test_claude_is_in_the_registry():
    assert isinstance(find("claude"), ClaudeDriver)


def test_a_fresh_start_names_its_conversation_and_the_dialogue_agrees():
    launch = _launch()

    assert launch.argv[:2] == ["/opt/claude", "--leading"]
    assert f"--session-id={launch.agent_session_id}" in launch.argv
    assert launch == _launch()
    assert launch.agent_session_id != _launch(session=SessionId("ses_2")).agent_session_id


def test_a_resume_keeps_the_id_in_one_argument():
    launch = _launch(agent_session_id="--evil")

    assert launch.agent_session_id == "--evil"
    assert "--resume=--evil" in launch.argv
    assert "--evil" not in launch.argv


def test_a_fork_names_the_source_and_gets_an_id_of_its_own():
    launch = _launch(agent_session_id="source", transcript=('{"sessionId":"source"}',), fork=True)

    ours = launch.agent_session_id
    assert ours not in {None, "source"}
    assert launch.argv[launch.argv.index("--resume=source") :][:3] == [
        "--resume=source",
        "--fork-session",
        f"--session-id={ours}",
    ]
    assert launch.files[0].path.endswith("/source.jsonl")
    assert launch.mirrored_paths[0].endswith(f"/{ours}.jsonl")


def test_a_conversation_begun_after_another_has_an_id_of_its_own():
    assert _launch().agent_session_id != _launch(transcript=['{"type":"user"}']).agent_session_id


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        (Mode.INTERACTIVE, "default"),
        (Mode.ACCEPT_EDITS, "acceptEdits"),
        (Mode.PLAN, "plan"),
        (Mode.BYPASS, "bypassPermissions"),
    ],
)
def test_each_mode_has_its_word(mode, word):
    assert f"--permission-mode={word}" in _launch(mode=mode, allow_bypass=True).argv


def test_bypass_needs_to_be_allowed():
    refused, allowed = _launch(mode=Mode.BYPASS), _launch(allow_bypass=True)

    assert not [argument for argument in refused.argv if "bypass" in argument or "skip-permissions" in argument]
    assert "IS_SANDBOX" not in refused.env
    assert "--allow-dangerously-skip-permissions" in allowed.argv
    assert allowed.env["IS_SANDBOX"] == "1"


def test_a_workspace_adds_neither_settings_nor_servers():
    argv = list(_launch().argv)

    assert argv[argv.index("--setting-sources") + 1] == ""
    assert "--strict-mcp-config" in argv


def test_the_environment_keeps_the_state_in_the_home_and_the_traffic_to_the_model():
    assert _launch().env == {
        "CLAUDE_CONFIG_DIR": "/var/homes/1/.claude",
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
    }


def test_servers_go_into_a_file_because_arguments_are_public():
    servers = {"search": {"command": "search", "env": {"KEY": "secret"}}}
    launch = _launch(mcp_servers=servers)

    (file,) = launch.files
    assert json.loads(file.content) == {"mcpServers": servers}
    assert f"--mcp-config=/var/homes/1/{file.path}" in launch.argv
    assert "secret" not in " ".join(launch.argv)
    assert not file.keep_longer


def test_a_model_is_named():
    assert "--model=sonnet" in _launch(model="sonnet").argv


def test_the_mirrored_transcript_is_laid_where_claude_looks_for_it():
    entries = [json.dumps({"type": "user", "uuid": "u1", "sessionId": ID}), '{"type":"summary"}']
    launch = _launch(agent_session_id=ID, transcript=entries)

    (file,) = launch.files
    assert file.path == f".claude/projects/-srv-my-repo-git/{ID}.jsonl"
    assert file.keep_longer
    assert file.content.decode().splitlines() == entries
    assert list(launch.mirrored_paths) == [file.path]


@pytest.mark.parametrize(
    ("present_lines", "is_replaced"), [(None, True), (0, True), (1, True), (2, False), (3, False)], ids=str
)
def test_a_transcript_of_fewer_lines_than_were_mirrored_is_replaced(present_lines, is_replaced):
    entries = [json.dumps({"type": "user", "uuid": name, "sessionId": ID}) for name in "ab"]
    (file,) = _launch(agent_session_id=ID, transcript=entries).files

    assert file.replaces(present_lines) is is_replaced


def test_entries_are_laid_down_once_and_only_those_of_the_conversation():
    def entry(name: str, conversation: str = ID) -> str:
        return json.dumps({"type": "user", "uuid": name, "sessionId": conversation})

    launch = _launch(
        agent_session_id=ID, transcript=[entry("a"), entry("b", "another"), entry("a"), "torn {", entry("c")]
    )

    assert launch.files[0].content.decode().splitlines() == [entry("a"), entry("c")]


def test_a_fresh_start_lays_nothing_down():
    assert not _launch(transcript=['{"type":"user"}']).files
    assert not _launch(agent_session_id=ID).files


@pytest.mark.parametrize(
    ("cwd", "slug"),
    [
        ("/srv/a b", "-srv-a-b"),
        ("/srv/é𝄞", "-srv----"),
        # Seen with Claude Code 2.1.329: beyond 200 characters the slug is cut and ends in a hash of the path.
        (
            "/tmp/cl/lab/" + "/".join(f"long_dir-é{str(level) * 30}" for level in range(8)),
            "-tmp-cl-lab"
            + "".join(f"-long-dir--{str(level) * 30}" for level in range(4))
            + "-long-dir--44444444444444-houu6m",
        ),
    ],
)
def test_a_folder_becomes_the_slug_claude_gives_it(cwd, slug):
    launch = _launch(cwd=cwd)

    assert launch.mirrored_paths[0].split("/")[2] == slug
