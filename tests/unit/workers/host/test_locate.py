"""Finding agents' programs, and whether an account is there for them: by its name alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.agents.claude.driver import ClaudeDriver
from shared.agents.demo.driver import DemoDriver
from shared.agents.driver import Abilities, Login, Profile
from shared.domain.session import Mode
from workers.host.locate import logged_in, probe


class Stranger(DemoDriver):
    """An agent with an account in a file, or of which nothing is known."""

    def __init__(self, login: Login | None) -> None:
        self.abilities = Abilities(modes=frozenset(Mode), profile=Profile(login=login))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ANTHROPIC_API_KEY": "hush"}, True),
        ({"CLAUDE_CODE_OAUTH_TOKEN": "hush"}, True),
        ({"ANTHROPIC_API_KEY": ""}, False),
        ({}, False),
    ],
)
def test_an_account_in_the_environment_is_seen(environ, expected, tmp_path):
    assert logged_in(ClaudeDriver(), environ, tmp_path) is expected


def test_an_account_in_a_file_of_the_home_is_seen(tmp_path):
    driver = Stranger(Login(variables=("KEY",), files=(".stranger/auth.json",)))
    before = logged_in(driver, {}, tmp_path)
    (tmp_path / ".stranger").mkdir()
    (tmp_path / ".stranger/auth.json").touch(mode=0)

    assert (before, logged_in(driver, {}, tmp_path)) == (False, True)


def test_an_agent_that_needs_none_is_logged_in_and_one_nobody_knows_is_neither():
    assert logged_in(DemoDriver(), {}, Path("/nowhere")) is True
    assert logged_in(Stranger(None), {}, Path("/nowhere")) is None


def test_what_is_told_of_an_agent_names_its_place_and_never_its_secret(tmp_path):
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho 2.1.300 '(Claude Code)'\n")
    program.chmod(0o755)

    told = probe(ClaudeDriver(), {"claude": str(program)}, {"ANTHROPIC_API_KEY": "hush-hush"}).as_json()

    assert told == {
        "ready": True,
        "version": "2.1.300 (Claude Code)",
        "problem": None,
        "logged_in": True,
        "path": str(program),
    }
