"""The command as a whole: help everywhere, one line for what is wrong, and documented exit statuses."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from cli.main import main


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that name it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = [pytest.param(words, command, id=" ".join(words)) for words, command in commands()]
PROCESSES = ["api", "worker", "delivery"]


@pytest.fixture
def corral(tmp_path, monkeypatch):
    """Runs a command in an empty folder, with nothing configured."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **env: str):
        return CliRunner(env=env).invoke(main, arguments)

    return run


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_command_says_what_it_is_for_and_what_its_options_do(corral, words, command):
    told = corral(*words, "--help")

    assert told.exit_code == 0
    assert (command.help or "").strip()
    silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    assert not silent


@pytest.mark.parametrize(("words", "command"), ALL)
def test_the_list_of_commands_cuts_no_sentence(corral, words, command):
    assert not command.get_short_help_str(limit=65).endswith("...")


def test_the_help_tells_the_exit_statuses(corral):
    told = " ".join(corral("--help").output.split())

    assert "0 done, 1 refused or failed" in told
    assert "130 left by Ctrl-C" in told


def test_an_unknown_command_is_status_2(corral):
    told = corral("frobnicate")

    assert told.exit_code == 2
    assert "No such command 'frobnicate'" in told.output


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_by_itself_says_what_it_lacks(corral, process):
    told = corral(process)

    assert told.exit_code == 1
    assert "CORRAL_DATABASE_URL, CORRAL_REDIS_URL, CORRAL_SECRET_KEY must be set." in told.output


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_says_that_its_database_was_not_migrated(corral, tmp_path, process):
    told = corral(
        process,
        CORRAL_DATABASE_URL=f"sqlite:///{tmp_path / 'empty.db'}",
        CORRAL_REDIS_URL="redis://127.0.0.1:1/0",
        CORRAL_SECRET_KEY="k" * 32,
    )

    assert (told.exit_code, told.output) == (1, "Error: The database is not at this release: run `corral migrate`.\n")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CORRAL_API_PORT", "eighty", "'eighty' cannot be read as a whole number"),
        ("CORRAL_API_PORT", "70000", "a port is between 0 and 65535"),
        ("CORRAL_BEAT_S", "soon", "'soon' cannot be read as a number"),
        ("CORRAL_METRICS_OPEN", "perhaps", "one of 1, 0, true, false"),
        ("CORRAL_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("CORRAL_DATABASE_URL", "mysql://u:hush@h/x", "its value cannot be used (it must begin with sqlite:///"),
        ("CORRAL_REDIS_URL", "u:hush@localhost", "its value cannot be used (it must begin with redis://"),
        ("CORRAL_RETENTION_DAYS", "nan", "'nan' cannot be used (it must be above 0 and at most 36500)"),
        ("CORRAL_RETENTION_DAYS", "1e9", "at most 36500"),
        ("CORRAL_API_THREADS", "0", "'0' cannot be used (it must be at least 1)"),
        ("CORRAL_WORKER_CAPACITY", "-3", "it must be at least 1"),
        ("CORRAL_RATE_LIMIT", "-1", "it must be at least 0"),
        ("CORRAL_TURN_S", "inf", "it must be above 0 and at most"),
        ("CORRAL_COMMIT_S", "-0.1", "it must be 0 or more"),
        ("CORRAL_WEBHOOK_RETRY_S", "5,soon", "could not convert string to float: 'soon'"),
        ("CORRAL_WEBHOOK_ALLOW", "10.0.0.0/40", "'10.0.0.0/40' is not a network"),
        ("CORRAL_LINE_LIMIT", "99999999", "one line cannot be longer than all together"),
        ("CORRAL_SECRET_KEY", "hush", "it has 4 characters and needs at least 32"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_no_secret_shown(corral, name, value, words):
    told = corral("migrate", **{name: value})

    assert told.exit_code == 1
    assert told.output.startswith(f"Error: {name}: ")
    assert words in told.output
    assert "hush" not in told.output
    assert told.output.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "api", "worker", "delivery", "doctor"])
@pytest.mark.parametrize("times", [("2", "60", "2"), ("6", "6", "8"), ("2", "8", "8")], ids="-".join)
def test_every_process_refuses_a_clockwork_that_guards_nothing(corral, command, times):
    beat, freeze, lapse = times
    told = corral(command, CORRAL_BEAT_S=beat, CORRAL_FREEZE_S=freeze, CORRAL_LAPSE_S=lapse)

    assert told.exit_code == 1
    assert told.output == (
        "Error: CORRAL_BEAT_S, CORRAL_FREEZE_S and CORRAL_LAPSE_S must rise in this order; "
        f"they are {beat}, {freeze} and {lapse} s.\n"
    )


def test_an_env_file_that_is_no_text_is_told(corral, tmp_path):
    (tmp_path / ".env").write_bytes(b"CORRAL_API_PORT=\xff\xfe")

    told = corral("doctor")

    assert (told.exit_code, told.output) == (1, "Error: .env is not UTF-8 text.\n")


def test_a_home_that_cannot_be_made_is_told(corral, tmp_path):
    (tmp_path / "file").write_text("in the way")

    told = corral("up", "--home", "file/home")

    assert told.exit_code == 1
    assert "Not a directory" in told.output


def test_migrate_needs_to_know_which_database(corral, tmp_path):
    assert "CORRAL_DATABASE_URL is not set" in corral("migrate").output

    url = f"sqlite:///{tmp_path / 'x.db'}"
    for _ in range(2):
        told = corral("migrate", CORRAL_DATABASE_URL=url)
        assert (told.exit_code, told.output) == (0, "The database is at this release.\n")


def test_a_probe_of_nothing_is_status_1(corral):
    assert corral("probe", "--port", "1").exit_code == 1
