"""What a delivery holds, and what of an endpoint can be taken."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import clock
from shared.domain.event import Event, render
from shared.domain.ids import SessionId, TurnId
from shared.domain.turn import Turn, TurnStatus
from shared.domain.usage import Usage
from shared.domain.webhook import (
    Cut,
    cut_size,
    event_type_problem,
    headers_problem,
    matches,
    render_cut,
    render_turn,
)

SESSION = SessionId("ses_x")


def event(seq: int, text: str = "hello") -> Event:
    return Event(SESSION, seq, "message", TurnId("trn_y"), "2026-01-31T12:00:00.000Z", render({"text": text}))


def test_a_cut_has_its_events_exactly_as_every_reader_gets_them():
    events = [event(5), event(6, 'quote " and ü and \u2028')]

    body = render_cut(1, SESSION, Cut(events, prev_seq=4)).decode()

    parsed = json.loads(body)
    assert {name: parsed[name] for name in ("type", "session_id", "first_seq", "last_seq", "prev_seq")} == {
        "type": "session.events",
        "session_id": "ses_x",
        "first_seq": 5,
        "last_seq": 6,
        "prev_seq": 4,
    }
    assert parsed["events"] == [json.loads(one.envelope()) for one in events]
    assert all(one.envelope() in body for one in events)


def test_the_first_renderer_never_changes():
    # A delivery stored by an older release must be sent again with the same bytes: mend nothing here, add version 2.
    assert render_cut(1, SESSION, Cut([event(5)], prev_seq=0)) == (
        b'{"type":"session.events","session_id":"ses_x","first_seq":5,"last_seq":5,"prev_seq":0,"events":['
        b'{"id":"evt_x_5","seq":5,"type":"message","session_id":"ses_x","turn_id":"trn_y",'
        b'"created_at":"2026-01-31T12:00:00.000Z","data":{"text":"hello"}}]}'
    )


def test_a_cut_ends_at_100_events():
    assert cut_size([event(seq) for seq in range(1, 140)]) == 100


def test_a_cut_ends_before_256_kilobytes():
    events = [event(seq, "x" * 60_000) for seq in range(1, 9)]

    size = cut_size(events)

    assert size == 4
    assert len(render_cut(1, SESSION, Cut(events[:size], 0))) <= 256 * 1024


def test_an_event_larger_than_a_cut_travels_alone():
    large = event(1, "x" * 300_000)

    assert cut_size([large, event(2)]) == 1
    assert cut_size([event(2), large]) == 1


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=20))
def test_a_cut_is_never_empty_and_never_too_large_unless_it_is_one_event(sizes):
    events = [event(seq, "x" * size) for seq, size in enumerate(sizes, 1)]

    size = cut_size(events)

    assert 1 <= size <= len(events)
    assert size == 1 or sum(len(one.envelope()) + 1 for one in events[:size]) <= 256 * 1024


@pytest.mark.parametrize(
    ("types", "event_type", "is_heard"),
    [
        ((), "message", True),
        (("message",), "message", True),
        (("message",), "message_chunk", False),
        (("message*",), "message_chunk", True),
        (("turn_ended", "tool_*"), "tool_call", True),
        (("turn_ended", "tool_*"), "toolbox", False),
        (("*",), "anything", True),
    ],
)
def test_a_filter_names_types_or_their_beginnings(types, event_type, is_heard):
    assert matches(types, event_type) is is_heard


@pytest.mark.parametrize("entry", ["", "Message", "message.*", "mess*age", "**", "message ", "a" * 80, "7up"])
def test_a_filter_that_can_match_nothing_is_refused(entry):
    assert event_type_problem(entry)


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-id": "x"},
        {"Webhook-Signature": "x"},
        {"Host": "x"},
        {"content-length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"traceparent": "x"},
        {"x y": "z"},
        {"": "z"},
        {"x": "a\r\nset-cookie: b"},
        {"x": "ü"},
        {"x": "y" * 5000},
        {f"x-{number}": "" for number in range(21)},
    ],
)
def test_headers_that_would_break_a_request_are_refused(headers):
    assert headers_problem(headers)


def test_a_refused_header_does_not_show_its_value():
    assert "token" not in (headers_problem({"authorization": "Bearer token\n"}) or "")


def test_ordinary_headers_are_taken():
    assert headers_problem({"authorization": "Bearer t", "X-Corral-Env": "prod", "user-agent": "mine"}) is None


def test_a_finished_turn_is_told_flat():
    at = clock.from_text("2026-01-31T12:00:00Z")
    turn = Turn(
        id=TurnId("trn_y"),
        session=SESSION,
        position=1.0,
        status=TurnStatus.COMPLETED,
        text="do",
        source="api",
        callback_url="https://x.test/",
        attempt=1,
        created_at=at,
        started_at=at,
        ended_at=at,
        stop_reason="end_turn",
        result_text="done \x00",
        error=None,
        usage=Usage(1, 2, 3, 4),
        cost_usd=0.5,
    )

    assert json.loads(render_turn(turn)) == {
        "type": "turn.ended",
        "session_id": "ses_x",
        "turn_id": "trn_y",
        "status": "completed",
        "stop_reason": "end_turn",
        "result_text": "done \\u0000",
        "error": None,
        "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4},
        "cost_usd": 0.5,
        "started_at": "2026-01-31T12:00:00.000Z",
        "ended_at": "2026-01-31T12:00:00.000Z",
    }
