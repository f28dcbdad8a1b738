"""What drivers declare about their programs beforehand."""

from __future__ import annotations

from shared.agents.driver import Abilities, Login, Profile
from shared.domain.session import Mode


def test_a_driver_that_declares_nothing_promises_nothing():
    abilities = Abilities(modes=frozenset(Mode), steer=True)

    assert abilities.profile == Profile(tested=None, login=None, models=(), since={})
    assert abilities.shown("1.0")["steer"] is True
    assert set(abilities.shown(None)) == {
        "questions", "plans", "steer", "resume", "cost", "deny_reason", "changed_input", "allow_always",
    }  # fmt: skip


def test_a_program_older_than_an_ability_lacks_it():
    abilities = Abilities(modes=frozenset(Mode), steer=True, resume=True, profile=Profile(since={"steer": "0.160"}))

    assert [abilities.shown(version)["steer"] for version in ("x 0.159.9", "x 0.160.0", None)] == [False, True, True]
    assert abilities.shown("x 0.1")["resume"] is True


def test_an_account_is_needed_unless_the_driver_says_otherwise():
    assert Login().is_needed
