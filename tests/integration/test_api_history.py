"""The log over HTTP and what is drawn from it, on both databases."""

from __future__ import annotations

from shared.domain.event import Draft, EventType
from shared.domain.ids import SessionId, TurnId
from shared.store import events, heads


def test_events_are_paged_by_seq_without_a_hole(api):
    session = api.create("hi")["id"]
    api.host(session).chunks(120)
    path = f"/v1/sessions/{session}/events"

    seen: list[int] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = api.http.get(path, params={"cursor": cursor, "limit": 50}).json()
        seen += [event["seq"] for event in page["data"]]
        cursor = page["next_cursor"]

    assert seen == list(range(1, 122))
    after = api.http.get(path, params={"after": 100, "limit": 2}).json()["data"]
    assert [event["seq"] for event in after] == [101, 102]


def test_types_filter_however_far_behind_they_lie(api):
    made = api.create("hi")
    host = api.host(made["id"])
    host.chunks(700)
    host.finish(made["turn"]["id"])

    found = api.http.get(f"/v1/sessions/{made['id']}/events", params={"types": "turn_ended,question"}).json()["data"]

    assert [event["type"] for event in found] == ["turn_ended"]
    assert found[0]["seq"] == 702


def test_what_retention_removed_is_gone_and_says_where_the_log_begins(api):
    session = api.create("hi")["id"]
    api.host(session).chunks(20)
    with api.edge.context.db.write() as connection:
        events.remove_upto(connection, SessionId(session), 10)
        heads.set_first_seq(connection, SessionId(session), 11)
    path = f"/v1/sessions/{session}/events"

    gone = api.http.get(path, params={"after": 3})
    held = api.http.get(path, params={"after": 10})
    begin = api.http.get(path)

    assert (gone.status_code, gone.json()["code"]) == (410, "history_removed")
    assert gone.json()["details"] == {"first_seq": 11}
    assert held.json()["data"][0]["seq"] == begin.json()["data"][0]["seq"] == 11


def test_messages_are_the_conversation_in_order(api):
    made = api.create("what is it?", source="slack")
    host = api.host(made["id"])
    turn = TurnId(made["turn"]["id"])
    host.tell(
        Draft(EventType.MESSAGE_CHUNK, {"text": "It", "message_id": "m"}, turn),
        Draft(EventType.MESSAGE, {"text": "It is.", "message_id": "m"}, turn),
    )

    found = api.http.get(f"/v1/sessions/{made['id']}/messages").json()["data"]

    assert [(one["direction"], one["source"], one["text"]) for one in found] == [
        ("in", "slack", "what is it?"),
        ("out", "agent", "It is."),
    ]
    assert {one["turn_id"] for one in found} == {turn}


def test_tools_come_with_what_became_of_them(api):
    session = api.create("hi")["id"]
    host = api.host(session)
    host.tell(
        Draft(EventType.TOOL_CALL, {"tool_call_id": "a", "name": "Bash", "input": {"command": "ls"}}),
        Draft(EventType.TOOL_CALL, {"tool_call_id": "b", "name": "Read", "input": {}}),
        Draft(EventType.TOOL_CALL, {"tool_call_id": "c", "name": "Write", "input": {}}),
    )
    host.chunks(600)
    host.tell(
        Draft(EventType.TOOL_RESULT, {"tool_call_id": "b", "name": "Read", "output": "no", "is_error": True}),
        Draft(
            EventType.TOOL_RESULT,
            {"tool_call_id": "a", "name": "Bash", "output": "x", "is_error": False, "duration_s": 1.5},
        ),
    )

    found = api.http.get(f"/v1/sessions/{session}/tools").json()["data"]

    assert [(one["name"], one["status"], one["result"], one["duration_s"]) for one in found] == [
        ("Bash", "completed", "x", 1.5),
        ("Read", "failed", "no", None),
        ("Write", "running", None, None),
    ]


def test_a_value_too_large_for_its_event_is_linked_and_given_whole(api):
    session = api.create("hi")["id"]
    text = "x" * 200_000
    api.host(session).tell(Draft(EventType.MESSAGE, {"text": text, "message_id": "m"}))

    event = api.http.get(f"/v1/sessions/{session}/events", params={"types": "message"}).json()["data"][0]
    answer = api.http.get(event["data"]["truncated"]["text"]["url"])

    assert len(event["data"]["text"]) < 5000
    assert answer.text == text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_events_of_all_sessions_come_newest_first_and_page_without_repeats(api):
    hosts = [api.host(api.create("hi")["id"]) for _ in range(3)]
    for round_number in range(5):
        for host in hosts:
            host.tell(Draft(EventType.MESSAGE, {"text": str(round_number), "message_id": "m"}))

    seen: list[tuple[str, str, int]] = []
    cursor: str | None = None
    while True:
        query = {"limit": 4} | ({} if cursor is None else {"cursor": cursor})
        page = api.http.get("/v1/events", params=query).json()
        seen += [(event["created_at"], event["session_id"], event["seq"]) for event in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen) == 18


def test_output_has_absolute_line_numbers_and_says_what_was_dropped(api):
    session = api.create("first")["id"]
    host = api.host(session)
    host.chunks(12_000)
    path = f"/v1/sessions/{session}/output"

    begin = api.http.get(path, params={"limit": 2}).json()
    later = api.http.get(path, params={"since": 11_998, "limit": 10}).json()

    # Line 0 is the prompt; only the newest 10,000 are given out.
    assert begin["total"] == 12_001
    assert begin["dropped"] == 2001
    assert begin["first"] == 2001
    assert begin["lines"] == ["0000002000", "0000002001"]
    assert later["dropped"] == 0
    assert later["lines"] == ["0000011997", "0000011998", "0000011999"]
    assert later["next"] == 12_001
    assert later["done"] is False


def test_output_is_done_when_the_session_has_ended_and_all_is_told(api):
    made = api.create("first")
    api.http.post(f"/v1/sessions/{made['id']}/terminate")

    answer = api.http.get(f"/v1/sessions/{made['id']}/output").json()

    assert answer["lines"] == ["> first", "[result] cancelled: session_terminated", "[session] ended: terminated"]
    assert answer["done"] is True
