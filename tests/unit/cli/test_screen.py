"""What a person sees of a session's events."""

from __future__ import annotations

import pytest

from cli.screen import Screen, plain


@pytest.fixture
def shown(capsys):
    """Shows events one after another; gives what stands on stdout and on stderr."""

    def show(*events):
        screen = Screen()
        for kind, data in events:
            screen.show({"type": kind, "data": data})
        return capsys.readouterr()

    return show


def test_a_message_that_came_in_chunks_is_shown_once(shown):
    seen = shown(
        ("message_chunk", {"text": "Hello, "}),
        ("message_chunk", {"text": "world"}),
        ("message", {"text": "Hello, world"}),
        ("message", {"text": "Whole."}),
    )

    assert seen.out == "Hello, world\nWhole.\n"


def test_thinking_ends_before_the_next_thing_begins(shown):
    seen = shown(
        ("thinking_chunk", {"text": "Hm."}),
        ("message", {"text": "Yes."}),
        ("thinking_chunk", {"text": "So."}),
        ("tool_call", {"name": "Bash", "input": {"command": "ls"}}),
    )

    assert seen.out == 'Hm.\nYes.\nSo.\n▸ Bash {"command": "ls"}\n'


def test_a_tools_result_is_indented_and_cut(shown):
    seen = shown(("tool_result", {"output": "one\ntwo\n" + "x" * 5000, "is_error": False}))

    assert seen.out.startswith("  one\n  two\n  x")
    assert len(seen.out) < 2100


def test_a_to_do_list_is_ticked_off(shown):
    items = [{"text": "a", "status": "completed"}, {"text": "b", "status": "in_progress"}, {"text": "c"}]

    assert shown(("plan_update", {"items": items})).out == "  ✓ a\n  ▸ b\n  · c\n"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (("notice", {"kind": "compacted"}), "[compacted]"),
        (("error", {"message": "oh"}), "error: oh"),
        (("retrying", {"attempt": 2, "error": "busy"}), "[retrying, attempt 2] busy"),
        (
            ("turn_ended", {"status": "completed", "stop_reason": "end_turn", "cost_usd": 0.5}),
            "[completed: end_turn, $0.5000]",
        ),
        (("turn_ended", {"status": "failed", "stop_reason": "error", "error": "why"}), "[failed: error] why"),
        (("session_ended", {"reason": "terminated"}), "[session ended: terminated]"),
    ],
)
def test_what_corral_says_goes_to_stderr(shown, event, line):
    seen = shown(event)

    assert seen.err == f"{line}\n"
    assert seen.out == ""


def test_events_of_no_meaning_to_a_person_are_not_shown(shown):
    assert shown(("usage", {"input_tokens": 1}), ("of_a_later_release", {})) == ("", "")


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\x07", "a\rb", "\x7f"])
def test_control_characters_are_made_visible(text):
    assert all(char.isprintable() for char in plain(text))


def test_lines_and_columns_stay():
    assert plain("a\tb\nc\r\nd é 🐎") == "a\tb\nc\nd é 🐎"
