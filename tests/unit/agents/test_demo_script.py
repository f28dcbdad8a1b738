"""How the demo agent reads a prompt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.demo.script import ScriptError, Step, parse
from cli.demo.words import WORDS, listed

PAGE = Path(__file__).parents[3] / "docs/agents/demo.md"


@pytest.mark.parametrize("prompt", ["Fix the tests, please", "", "  \n ", "Say hello", "sayhello", "; ; "])
def test_a_prompt_that_begins_with_no_word_of_ours_is_no_script(prompt):
    assert parse(prompt, WORDS) is None


def test_steps_stand_on_lines_or_between_semicolons():
    steps = parse("say one; say two\n\n  sleep 0.5  ;mode", WORDS)

    assert steps == [Step("say", ("one",)), Step("say", ("two",)), Step("sleep", (0.5,)), Step("mode", ())]


def test_an_escaped_semicolon_separates_nothing():
    assert parse(r"run echo a\; echo b", WORDS) == [Step("run", ("echo a; echo b",))]


def test_a_written_text_keeps_its_spaces_and_gets_its_lines():
    assert parse(r"write a/b.txt one  two\nthree", WORDS) == [Step("write", ("a/b.txt", "one  two\nthree"))]


def test_an_absent_argument_has_its_default():
    assert parse("flood 5; recall; crash", WORDS) == [
        Step("flood", (5, 64)),
        Step("recall", (1,)),
        Step("crash", ("1",)),
    ]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("say hi; dance", "step 2: there is no word 'dance'"),
        ("sleep well", "write: sleep <seconds>"),
        ("flood -3", "-3 is negative"),
        ("sleep nan", "not a number from 0 up"),
        ("rate 5", "seconds is missing"),
        ("write", "path is missing"),
        ("mode please", "takes no argument"),
        ("crash SIGNOTHING", "neither an exit code nor a signal"),
        ("flood 3 4 5", "write: flood <n> [bytes]"),
    ],
)
def test_a_mistake_is_named_with_its_step_and_its_mending(prompt, told):
    with pytest.raises(ScriptError, match=re.escape(told)):
        parse(prompt, WORDS)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_every_word_stands_in_the_help_and_on_the_page(word):
    assert re.search(rf"^  {word}\b", listed(), re.MULTILINE)
    assert re.search(rf"^\| `{word}[ `]", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
