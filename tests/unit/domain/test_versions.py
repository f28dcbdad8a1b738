"""Versions as programs print them."""

from __future__ import annotations

import pytest

from shared.domain.versions import is_older, is_within, numbers_of


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2.1.329 (Claude Code)", (2, 1, 329)),
        ("codex-cli 0.169.0", (0, 169, 0)),
        ("corral-demo-agent 1.0", (1, 0)),
        ("tool v3.4", (3, 4)),
        ("ready", None),
        ("7", None),
        ("", None),
        (None, None),
    ],
)
def test_the_first_version_in_a_text_counts(text, numbers):
    assert numbers_of(text) == numbers


@pytest.mark.parametrize(
    ("text", "is_in"),
    [("2.1.197", True), ("2.1.200 (x)", True), ("2.1.330", False), ("2.1.99", False), ("ready", None), (None, None)],
)
def test_a_version_lies_within_its_bounds_by_numbers_and_not_by_letters(text, is_in):
    assert is_within(text, ("2.1.197", "2.1.329")) is is_in


def test_without_bounds_nothing_can_be_told():
    assert is_within("1.0", None) is None
    assert not is_older("1.0", None)
    assert not is_older(None, "1.0")
