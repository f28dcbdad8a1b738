"""`corral doctor` says what is there and what is not, changes nothing, and exits by what it found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from shared.store.migrate import upgrade

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Runs it on a home that is not there yet, with nothing configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))

    def run(**env: str):
        told = CliRunner(env=env).invoke(main, ["doctor", "--home", str(tmp_path / "home")])
        assert told.exit_code in {0, 1}, told.exception
        return told

    return run


def lines(told, mark):
    return [line[4:].strip() for line in told.output.splitlines() if line.startswith(f" {mark} ")]


def test_with_nothing_configured_everything_it_needs_is_there(doctor, tmp_path):
    told = doctor()

    assert told.exit_code == 0
    good = "\n".join(lines(told, "ok"))
    assert "made by `corral up`" in good
    assert "Redis: embedded" in good
    assert "agent demo: corral-demo-agent" in good
    assert "nothing runs on" in good
    assert not (tmp_path / "home").exists()


def test_a_missing_agent_is_a_warning_that_says_how_to_get_it(doctor):
    told = doctor()

    assert "agent claude is not ready" in lines(told, "!!")
    assert "Install it, or set CORRAL_CLAUDE_COMMAND." in told.output
    assert told.exit_code == 0


def test_a_present_agent_shows_its_version(doctor, tmp_path):
    claude = tmp_path / "claude"
    claude.write_text("#!/bin/sh\necho 9.9.9 '(Claude Code)'\n")
    claude.chmod(0o755)

    told = doctor(CORRAL_CLAUDE_COMMAND=str(claude), CORRAL_CLAUDE_MODELS="sonnet")

    assert f"agent claude: 9.9.9 (Claude Code), {claude}" in lines(told, "ok")
    assert "agent claude may be asked for sonnet alone" in lines(told, "ok")
    assert [line for line in lines(told, "!!") if "claude" in line] == [
        "agent claude: this version was not tried with this release of Corral",
        "agent claude finds no account",
    ]
    assert told.exit_code == 0


def test_an_account_that_agents_get_is_found_and_never_shown(doctor, tmp_path):
    claude = tmp_path / "claude"
    claude.write_text("#!/bin/sh\necho 2.1.329 '(Claude Code)'\n")
    claude.chmod(0o755)

    told = doctor(CORRAL_CLAUDE_COMMAND=str(claude), CHILD_ENV_ANTHROPIC_API_KEY="hush-hush")

    assert "finds no account" not in told.output
    assert "not tried" not in told.output
    assert "hush" not in told.output


@pytest.mark.parametrize(
    ("script", "told"),
    [("exit 3", "it exits with 3"), ("echo", "agent claude"), (None, "cannot be run")],
)
def test_an_agent_that_does_not_answer_as_it_should_is_told(doctor, tmp_path, script, told):
    claude = tmp_path / "claude"
    if script is not None:
        claude.write_text(f"#!/bin/sh\n{script}\n")
        claude.chmod(0o755)

    assert told in doctor(CORRAL_CLAUDE_COMMAND=str(claude)).output


def test_a_database_that_is_away_is_missing(doctor):
    told = doctor(CORRAL_DATABASE_URL=f"postgresql://u:hush@{NOWHERE}/x")

    assert lines(told, "no") == ["the database cannot be reached"]
    assert told.exit_code == 1
    assert "hush" not in told.output


def test_a_database_that_is_none_is_missing(doctor, tmp_path):
    (tmp_path / "x.db").write_text("This is no database. " * 100)

    told = doctor(CORRAL_DATABASE_URL=f"sqlite:///{tmp_path / 'x.db'}")

    assert "file is not a database" in lines(told, "no")[0]


def test_a_database_without_tables_is_to_be_migrated(doctor, tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    told = doctor(CORRAL_DATABASE_URL=url)
    assert "Run `corral migrate`." in told.output
    assert told.exit_code == 1

    upgrade(url)

    assert "database: reachable, at this release" in lines(doctor(CORRAL_DATABASE_URL=url), "ok")


def test_redis_away_is_a_warning(doctor):
    told = doctor(CORRAL_REDIS_URL=f"redis://{NOWHERE}/0")

    assert "Redis cannot be reached" in lines(told, "!!")[0]
    assert told.exit_code == 0


def test_a_redis_that_is_there_is_told(doctor, valkey_url):
    assert "Redis: reachable" in lines(doctor(CORRAL_REDIS_URL=valkey_url), "ok")


def test_an_allowed_folder_that_is_not_there_is_a_warning(doctor, tmp_path):
    told = doctor(CORRAL_ALLOWED_FOLDERS=f"{tmp_path},{tmp_path / 'gone'}")

    assert f"{tmp_path} is open to agents" in lines(told, "ok")
    assert f"{tmp_path / 'gone'} cannot be read" in lines(told, "!!")


def test_missing_git_is_a_warning(doctor):
    assert "git is not on PATH" in lines(doctor(), "!!")
