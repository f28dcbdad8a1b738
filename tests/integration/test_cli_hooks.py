"""`corral hooks` against a real API: settings printed, merged into a folder and taken out again, and an event sent."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from tests.fixtures.api import Api


@pytest.fixture
def corral(sqlite_api: Api, tmp_path):
    """Runs `corral` as somebody with a key of the running API."""

    def run(*words: str, input: str | None = None, **env: str):
        known = {"CORRAL_URL": sqlite_api.url, "CORRAL_KEY": sqlite_api.key, "CORRAL_HOME": str(tmp_path / "none")}
        return CliRunner(env={"CORRAL_HOOK_TOKEN": None, **known, **env}).invoke(main, ["hooks", *words], input=input)

    return run


def sessions(api: Api) -> list[dict[str, object]]:
    return api.http.get("/v1/sessions").json()["data"]


def test_the_printed_settings_report_to_the_session_that_was_registered(corral, sqlite_api):
    told = corral("install", "--title", "laptop")
    # The API runs in this process too, and logs to the same place.
    printed = json.loads(told.stdout[told.stdout.index("{\n") :])

    sent = corral("send", "SessionStart", input='{"session_id": "c", "source": "startup"}', **printed["env"])

    (session,) = sessions(sqlite_api)
    assert (told.exit_code, sent.exit_code) == (0, 0)
    assert (session["title"], session["status"], session["agent_session_id"]) == ("laptop", "idle", "c")
    assert session["id"] in told.stderr


def test_written_into_a_folder_they_stand_beside_what_is_there_and_come_out_again(corral, tmp_path):
    path = tmp_path / "project" / ".claude" / "settings.local.json"
    path.parent.mkdir(parents=True)
    before = json.dumps({"permissions": {"allow": ["Read"]}, "hooks": {"Stop": [{"hooks": [{"type": "command"}]}]}})
    path.write_text(before)
    path.chmod(0o640)

    told = corral("install", "--write", str(tmp_path / "project"))
    written = json.loads(path.read_text())
    removed = corral("uninstall", str(tmp_path / "project"))

    assert (told.exit_code, removed.exit_code) == (0, 0)
    assert written["permissions"] == {"allow": ["Read"]}
    assert len(written["hooks"]["Stop"]) == 2
    assert "others may read it" in told.stderr
    assert json.loads(path.read_text()) == json.loads(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert json.loads(path.with_name("settings.local.json.backup").read_text()) == written


def test_a_new_file_is_its_owners_alone(corral, tmp_path):
    corral("install", "--write", str(tmp_path / "project"), "--remote-approval", "--wait", "30")

    path = tmp_path / "project" / ".claude" / "settings.local.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "wait_s=30" in path.read_text()


def test_a_token_that_is_given_is_used_and_nothing_registered(corral, sqlite_api):
    told = corral("install", CORRAL_HOOK_TOKEN="crh_mine", CORRAL_KEY="")

    assert '"CORRAL_HOOK_TOKEN": "crh_mine"' in told.stdout
    assert sessions(sqlite_api) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"hooks": []}'])
def test_a_file_that_cannot_be_merged_into_stays_as_it_is(corral, tmp_path, text):
    path = tmp_path / ".claude" / "settings.local.json"
    path.parent.mkdir()
    path.write_text(text)

    told = corral("install", "--write", str(tmp_path))

    assert told.exit_code == 1
    assert path.read_text() == text


def test_uninstall_says_where_nothing_is_installed(corral, tmp_path):
    missing = corral("uninstall", str(tmp_path))
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.local.json").write_text("{}")

    assert (missing.exit_code, corral("uninstall", str(tmp_path)).exit_code) == (1, 0)


def test_a_refused_event_says_why_in_one_line(corral, sqlite_api):
    env = {"CORRAL_HOOK_URL": sqlite_api.url, "CORRAL_HOOK_TOKEN": "crh_mistyped"}

    refused = corral("send", "Stop", input="{}", **env)
    no_json = corral("send", "Stop", input="{", **env)
    unset = corral("send", "Stop", input="{}", CORRAL_HOOK_URL="")

    assert "(unauthenticated)" in refused.stderr
    assert [one.exit_code for one in (refused, no_json, unset)] == [1, 1, 1]
