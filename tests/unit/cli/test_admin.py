"""`corral config` and `corral key create`: what is asked, what is written, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from shared.agents.registry import DRIVERS
from shared.settings.reading import read_dotenv

SECRETS = {"CHILD_ENV_ANTHROPIC_API_KEY", "CORRAL_SECRET_KEY"}


@pytest.fixture
def config(monkeypatch, tmp_path):
    """Runs `corral config` in a folder of its own, with these lines typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    def run(*typed: str, **env: str):
        # Behind them an empty line for each agent's program: none is on this PATH.
        lines = [*typed, *("" for _ in DRIVERS)]
        return CliRunner(env=env).invoke(main, ["config"], input="".join(f"{line}\n" for line in lines))

    return run


def test_answers_are_written_to_a_private_file(config):
    told = config("", "", "9000", "3", "", "sk-hush", "")

    assert told.exit_code == 0, told.output
    assert read_dotenv(Path(".env")) == {
        "CORRAL_API_PORT": "9000",
        "CORRAL_WORKER_CAPACITY": "3",
        "CHILD_ENV_ANTHROPIC_API_KEY": "sk-hush",
    }
    assert Path(".env").stat().st_mode & 0o777 == 0o600
    assert "sk-hush" not in told.output


def test_what_stands_in_the_file_stays_and_is_not_asked_again(config):
    Path(".env").write_text("# mine\nCORRAL_API_PORT=9000\nOTHER=1")

    told = config("", "", "7", "", "", "")

    assert "Port of the API" not in told.output
    assert Path(".env").read_text() == "# mine\nCORRAL_API_PORT=9000\nOTHER=1\nCORRAL_WORKER_CAPACITY=7\n"


def test_what_the_environment_says_is_not_asked(config):
    assert "Port of the API" not in config(*[""] * 6, CORRAL_API_PORT="9000").output


def test_an_answer_that_cannot_be_used_is_asked_again(config):
    told = config("postgres://u:hush@h/db", "", "", "70000", "many", "9000", "", "", "", "")

    assert "it must begin with sqlite:///" in told.output
    assert told.output.count("Port of the API") == 3
    assert read_dotenv(Path(".env")) == {"CORRAL_API_PORT": "9000"}


def test_a_database_of_several_machines_gets_a_secret_key(config):
    config("postgresql://u:p@h/db", *[""] * 6)

    assert len(read_dotenv(Path(".env"))["CORRAL_SECRET_KEY"]) >= 32


def test_an_agent_whose_program_is_on_the_path_is_not_asked_for(config, tmp_path):
    assert "Program of the agent claude" in config(*[""] * 7).output

    claude = tmp_path / "claude"
    claude.write_text("#!/bin/sh\n")
    claude.chmod(0o755)

    assert "Program of the agent claude" not in config(*[""] * 7).output


def test_no_answer_writes_nothing(config):
    assert "Nothing was added." in config(*[""] * 7).output
    assert config("", "", "9000").exit_code == 1  # the terminal was closed
    assert not Path(".env").exists()


@pytest.fixture
def key(sqlite_url, tmp_path, monkeypatch):
    """Runs `corral key create` on a migrated database."""
    monkeypatch.chdir(tmp_path)
    env = {"CORRAL_DATABASE_URL": sqlite_url, "CORRAL_SECRET_KEY": "x" * 40}

    def run(*arguments: str, **more: str):
        return CliRunner(env=env | more).invoke(main, ["key", "create", "--home", str(tmp_path / "home"), *arguments])

    return run


def test_a_key_is_printed_and_nothing_else(key):
    told = key()

    assert told.exit_code == 0
    assert told.output.startswith("crl_")
    assert told.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "env", "status", "words"),
    [
        (["--scope", "everything"], {}, 2, "'everything' is not one of"),
        (["--tenant", "Nobody"], {}, 2, "begins with ten_"),
        ([], {"CORRAL_SECRET_KEY": "short"}, 1, "needs at least 32"),
        ([], {"CORRAL_DATABASE_URL": ""}, 1, "run `corral up` once"),
        ([], {"CORRAL_SECRET_KEY": ""}, 1, "CORRAL_SECRET_KEY is not set"),
        ([], {"CORRAL_DATABASE_URL": "sqlite:////nowhere.db"}, 1, "run `corral up` or `corral migrate` first"),
        ([], {"CORRAL_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}, 1, "cannot be reached"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(key, tmp_path, arguments, env, status, words):
    told = key(*arguments, **env)

    assert told.exit_code == status
    assert words in told.output
    assert not isinstance(told.exception, Exception)
    assert not (tmp_path / "home").exists()
