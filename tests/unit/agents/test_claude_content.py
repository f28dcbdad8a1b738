"""What Claude Code says and does, as events."""

from __future__ import annotations

import json
from typing import Any

from shared.domain.event import EventType, render
from tests.fixtures.claude_talk import Talk

# --- content


def test_two_texts_of_one_message_are_told_apart():
    talk = Talk()

    def event(**event: Any) -> None:
        talk.feed(type="stream_event", event=event)

    event(type="message_start", message={"id": "m1"})
    for index, text in enumerate(["one", "two"]):
        event(type="content_block_start", index=index, content_block={"type": "text", "text": ""})
        event(type="content_block_delta", index=index, delta={"type": "text_delta", "text": text})
        talk.feed(type="assistant", message={"id": "m1", "content": [{"type": "text", "text": text}]})

    told = [(output.type, output.data["message_id"], output.data["text"]) for output in talk.outputs]
    assert told == [
        (EventType.MESSAGE_CHUNK, "m1", "one"),
        (EventType.MESSAGE, "m1", "one"),
        (EventType.MESSAGE_CHUNK, "m1.2", "two"),
        (EventType.MESSAGE, "m1.2", "two"),
    ]


def test_a_todo_list_is_told_when_its_tool_has_run():
    talk = Talk()
    todos = [{"content": "look", "status": "in_progress"}, {"content": "leap", "status": "someday"}]
    called = talk.called("t1", "TodoWrite", todos=todos)

    assert [out.type for out in called] == [EventType.TOOL_CALL]
    assert talk.returned("t1")[-1].data == {
        "items": [{"text": "look", "status": "in_progress"}, {"text": "leap", "status": "pending"}]
    }


def test_a_result_of_several_parts_is_one_text_and_an_image_is_named():
    talk = Talk()
    talk.called("t1", "Read")
    image = {"type": "image", "source": {"media_type": "image/png", "data": "A" * 9000}}

    (result,) = talk.returned("t1", [{"type": "text", "text": "seen:"}, image])
    assert result.data["output"] == "seen:\n[image image/png]"


def test_what_no_database_can_hold_passes_through_and_can_be_rendered():
    talk = Talk()
    talk.called("t1")

    (result,) = talk.line(
        '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":"\\u0000\\ud800"}]}}'
    )
    assert json.loads(render(result.data))["output"]


def test_a_tool_of_the_models_own_servers_is_a_tool_call_too():
    talk = Talk()
    found = {"type": "web_search_result", "title": "Corral", "url": "https://corral.test"}
    talk.feed(
        type="assistant",
        message={
            "id": "m1",
            "content": [
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "corral"}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [found]},
            ],
        },
    )

    call, result = (output.data for output in talk.outputs)
    assert (call["tool_call_id"], call["name"]) == ("s1", "web_search")
    assert json.loads(result["output"]) == found


def test_a_rate_limit_is_told_when_it_comes_near():
    talk = Talk()
    near = {"status": "allowed_warning", "rateLimitType": "five_hour", "utilization": 0.9, "resetsAt": 1795222663}

    assert talk.feed(type="rate_limit_event", rate_limit_info={"status": "allowed"}) == []
    (told,) = talk.feed(type="rate_limit_event", rate_limit_info=near)
    assert told.data["kind"] == "rate_limit"
    assert told.data["window"] == "five_hour"
