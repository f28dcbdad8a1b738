"""Lines for people: the same log gives the same lines, whole, however it is cut into pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.event import EventType
from shared.domain.json import JsonObject
from shared.operations.lines import Fold, draw

Log = list[tuple[EventType, JsonObject]]


def chunk(text: str, call: str = "c") -> tuple[EventType, JsonObject]:
    return (EventType.TOOL_OUTPUT_CHUNK, {"tool_call_id": call, "text": text})


def result(output: str, call: str = "c", *, is_error: bool = False) -> tuple[EventType, JsonObject]:
    return (EventType.TOOL_RESULT, {"tool_call_id": call, "name": "Bash", "output": output, "is_error": is_error})


def drawn(log: Log) -> list[str]:
    fold, lines = Fold(), []
    for kind, data in log:
        fold, new = draw(fold, kind, data)
        lines += new
    return lines


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        ([(EventType.TURN_QUEUED, {"text": "do\nit", "source": "api"})], ["> do", "> it"]),
        ([(EventType.MESSAGE, {"text": "one\ntwo\n"})], ["one", "two"]),
        (
            [(EventType.TOOL_CALL, {"name": "Bash", "input": {"command": "make\ntest"}})],
            ["[tool] Bash: make test"],
        ),
        (
            [(EventType.TOOL_CALL, {"name": "Edit", "input": {"a": 1, "b": "x"}})],
            ['[tool] Edit: {"a": 1, "b": "x"}'],
        ),
        ([result("a\nb")], ["a", "b"]),
        ([result("bad", is_error=True)], ["bad", "[tool] Bash failed"]),
        ([(EventType.TURN_ENDED, {"status": "completed", "stop_reason": "end_turn"})], ["[result] completed"]),
        (
            [(EventType.TURN_ENDED, {"status": "failed", "stop_reason": "error", "error": "no\nmodel"})],
            ["[result] failed: no model"],
        ),
        ([(EventType.SESSION_ENDED, {"reason": "terminated"})], ["[session] ended: terminated"]),
        ([(EventType.ASK_RESOLVED, {"status": "answered", "answered_by": "ann"})], ["[ask] answered by ann"]),
        ([(EventType.ASK_RESOLVED, {"status": "applied"})], []),
        ([(EventType.USAGE, {"input_tokens": 1})], []),
    ],
)
def test_each_event_has_its_lines(log, lines):
    assert drawn(log) == lines


def test_a_line_of_tool_output_waits_for_its_end():
    assert drawn([chunk("ab"), chunk("c\nd")]) == ["abc"]


def test_the_rest_of_a_line_comes_before_whatever_follows():
    assert drawn([chunk("half"), (EventType.MESSAGE, {"text": "next"})]) == ["half", "next"]


def test_output_told_in_pieces_is_not_told_again_with_the_result():
    assert drawn([chunk("a\nb\n"), result("a\nb\n")]) == ["a", "b"]


def test_a_line_without_an_end_is_given_in_pieces():
    lines = drawn([chunk("x" * 10_000), chunk("x" * 10_000)])

    assert "".join(lines) == "x" * 20_000


def test_data_of_a_strange_form_gives_lines_and_no_error():
    for kind in EventType:
        assert isinstance(drawn([(kind, {"text": 1, "input": None, "questions": "x", "output": []})]), list)


@given(st.lists(st.text(alphabet="ab\n", max_size=8), max_size=30), st.data())
def test_it_does_not_matter_where_a_reader_begins(texts, data):
    log = [chunk(text) for text in texts] + [(EventType.TURN_ENDED, {"status": "completed"})]
    cut = data.draw(st.integers(0, len(log)))
    fold, before = Fold(), []
    for kind, values in log[:cut]:
        fold, new = draw(fold, kind, values)
        before += new

    after = []
    for kind, values in log[cut:]:
        fold, new = draw(fold, kind, values)
        after += new

    assert before + after == drawn(log)


def test_a_steered_prompts_end_leaves_the_running_turn_alone():
    steered = (EventType.TURN_ENDED, {"status": "completed", "stop_reason": "steered"})

    lines = drawn([chunk("a\n"), steered, chunk("b\n"), result("a\nb\n")])

    assert lines == ["a", "[steered] into the running turn", "b"]
