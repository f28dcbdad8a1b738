"""Chunks are joined within the chunk time, and nothing ever overtakes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.event import Draft, EventType
from shared.domain.ids import TurnId
from workers.host.coalesce import MAX_CHARACTERS, Coalescer

TURN = TurnId("trn_1")


def chunk(text, message="m1", kind=EventType.MESSAGE_CHUNK):
    return Draft(kind, {"text": text, "message_id": message}, TURN)


def other(name="tool_call"):
    return Draft(EventType(name), {"tool_call_id": "c"}, TURN)


def test_the_first_chunk_goes_out_at_once():
    coalescer = Coalescer(0.05)

    assert coalescer.add(chunk("a"), 1.0) == [chunk("a")]
    assert coalescer.flush_at is None


def test_chunks_that_follow_soon_are_joined_until_the_time_is_over():
    coalescer = Coalescer(0.05)
    coalescer.add(chunk("a"), 1.0)

    later = [coalescer.add(chunk(text), 1.0 + place / 100) for place, text in enumerate("bcd", 1)]

    assert later == [[], [], []]
    assert coalescer.flush_at == 1.05
    assert coalescer.flush(1.05) == [chunk("bcd")]
    assert coalescer.flush_at is None


def test_a_chunk_after_a_pause_goes_out_at_once_again():
    coalescer = Coalescer(0.05)
    coalescer.add(chunk("a"), 1.0)

    assert coalescer.add(chunk("b"), 2.0) == [chunk("b")]


def test_any_other_event_flushes_what_waits_before_it():
    coalescer = Coalescer(0.05)
    coalescer.add(chunk("a"), 1.0)
    coalescer.add(chunk("b"), 1.01)

    assert coalescer.add(other(), 1.02) == [chunk("b"), other()]


def test_chunks_of_another_message_or_kind_are_never_joined():
    coalescer = Coalescer(0.05)
    coalescer.add(chunk("a"), 1.0)
    coalescer.add(chunk("b"), 1.01)

    assert coalescer.add(chunk("c", "m2"), 1.02) == [chunk("b")]
    assert coalescer.add(chunk("d", "m2", EventType.THINKING_CHUNK), 1.03) == [chunk("c", "m2")]


def test_tool_output_is_never_joined():
    coalescer = Coalescer(0.05)
    pieces = [Draft(EventType.TOOL_OUTPUT_CHUNK, {"tool_call_id": "c", "text": text}, TURN) for text in "abc"]

    assert [coalescer.add(piece, 1.0) for piece in pieces] == [[piece] for piece in pieces]


def test_a_joined_chunk_does_not_grow_without_bound():
    coalescer = Coalescer(1000.0)
    coalescer.add(chunk("a"), 1.0)

    out = [draft for _ in range(10) for draft in coalescer.add(chunk("x" * 4096), 1.0)]

    assert all(len(draft.data["text"]) <= MAX_CHARACTERS + 4096 for draft in out)
    assert len(out) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["message_chunk", "thinking_chunk", "tool_call"]),
            st.sampled_from(["m1", "m2"]),
            st.floats(0, 0.1),
        )
    )
)
def test_joined_or_not_the_texts_are_the_same_in_the_same_order(steps):
    coalescer, now, out, given_ = Coalescer(0.05), 0.0, [], []
    for number, (kind, message, pause) in enumerate(steps):
        now += pause
        if coalescer.flush_at is not None and coalescer.flush_at <= now:
            out += coalescer.flush(now)
        draft = other() if kind == "tool_call" else chunk(f"<{number}>", message, EventType(kind))
        given_.append(draft)
        out += coalescer.add(draft, now)
    out += coalescer.flush(now)

    def flat(drafts):
        return "".join(f"{draft.type}|{draft.data.get('message_id')}|{draft.data.get('text', '')}|" for draft in drafts)

    def merged(drafts):
        runs = []
        for draft in drafts:
            last = runs[-1] if runs else None
            if (
                last
                and draft.type in {"message_chunk", "thinking_chunk"}
                and (last[0], last[1])
                == (
                    draft.type,
                    draft.data["message_id"],
                )
            ):
                last[2] += str(draft.data["text"])
            else:
                runs.append([draft.type, draft.data.get("message_id"), str(draft.data.get("text", ""))])
        return runs

    assert merged(out) == merged(given_)
    assert len(flat(out)) <= len(flat(given_))
