"""Turns: the line, the moves, and exactly one end."""

from __future__ import annotations

import pytest

from shared.domain.errors import InvalidField, NotFound, TurnOver
from shared.domain.ids import TurnId
from shared.domain.turn import TERMINAL_TURN, Ending, TurnStatus
from shared.domain.usage import Usage
from shared.store import tables, turns
from tests.fixtures.store_rows import ACME, OTHER, T0, add_session, add_turn, after, at_once, each_at_once

DONE = Ending(
    TurnStatus.COMPLETED, "end_turn", result_text="ok \x00", usage=Usage(1, 2, 3, 4), cost_usd=0.5, error="\ud800"
)


def line(c, session):
    return [turn.text for turn in turns.open_turns(c, session)]


def test_a_turn_comes_back_as_it_was_made_to_its_tenant_only(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c), callback_url="https://example.org/done")

        assert turns.get(c, ACME, turn.id) == turn
        assert turns.get_any(c, turn.id) == turn
        assert turns.get(c, OTHER, turn.id) is None
        assert turns.page(c, OTHER, turn.session) == ([], None)
        assert turns.get_any(c, TurnId("trn_none")) is None


def test_a_turn_that_is_over_comes_back_with_its_result(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))
        turns.start(c, turn.id, after(1))
        turns.end(c, turn.id, DONE, after(2))

        over = turns.get_any(c, turn.id)
    assert (over.status, over.stop_reason) == (TurnStatus.COMPLETED, "end_turn")
    assert (over.result_text, over.error) == ("ok \\u0000", "\\ud800")
    assert (over.usage, over.cost_usd) == (Usage(1, 2, 3, 4), 0.5)
    assert (over.started_at, over.ended_at) == (after(1), after(2))


def test_a_new_turn_goes_to_the_end_of_the_line(db):
    with db.write() as c:
        session = add_session(c)
        for text in "abc":
            add_turn(c, session, text=text)

        assert line(c, session) == ["a", "b", "c"]
        assert [turns.queue_position(c, turn) for turn in turns.open_turns(c, session)] == [0, 1, 2]


def test_a_turn_may_go_to_the_front_of_the_line_but_not_before_what_runs(db):
    with db.write() as c:
        session = add_session(c)
        running = add_turn(c, session, text="running")
        add_turn(c, session, text="queued")
        turns.start(c, running.id, T0)

        add_turn(c, session, text="first", position=turns.front_position(c, session))
        add_turn(c, session, text="firster", position=turns.front_position(c, session))
        turns.requeue(c, running.id)

        assert line(c, session) == ["running", "firster", "first", "queued"]


def test_the_front_of_an_empty_line_is_its_end(db):
    with db.write() as c:
        session = add_session(c)
        over = add_turn(c, session)
        turns.end(c, over.id, DONE, T0)

        assert turns.front_position(c, session) == turns.next_position(c, session) > over.position


def test_a_thousand_turns_may_jump_the_line(db):
    with db.write() as c:
        session = add_session(c)
        running = add_turn(c, session)
        turns.start(c, running.id, T0)
        add_turn(c, session, text="last")
        for n in range(1000):
            add_turn(c, session, text=str(n), position=turns.front_position(c, session))

        assert line(c, session)[1:] == [str(n) for n in reversed(range(1000))] + ["last"]


@pytest.mark.parametrize(("place", "expected"), [(0, "cabd"), (1, "acbd"), (2, "abcd"), (3, "abdc"), (99, "abdc")])
def test_a_queued_turn_may_be_moved_to_any_place(db, place, expected):
    with db.write() as c:
        session = add_session(c)
        moving = {text: add_turn(c, session, text=text).id for text in "abcd"}["c"]

        position = turns.position_at(c, session, place, moving=moving)
        assert turns.edit_queued(c, moving, position=position)

        assert "".join(line(c, session)) == expected


def test_only_a_queued_turn_may_be_edited(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))

        assert turns.edit_queued(c, turn.id, text="better")
        assert turns.get_any(c, turn.id).text == "better"
        turns.start(c, turn.id, T0)
        assert not turns.edit_queued(c, turn.id, text="too late", position=0.0)
        assert turns.get_any(c, turn.id).text == "better"


def test_a_turn_moves_between_queued_running_and_waiting(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))

        assert not turns.wait(c, turn.id)
        assert not turns.go_on(c, turn.id)
        assert turns.start(c, turn.id, T0)
        assert not turns.start(c, turn.id, T0)
        assert turns.wait(c, turn.id)
        assert not turns.wait(c, turn.id)
        assert turns.go_on(c, turn.id)
        assert turns.get_any(c, turn.id).status is TurnStatus.RUNNING


@pytest.mark.parametrize("status", sorted(TERMINAL_TURN))
def test_nothing_moves_a_turn_that_is_over(db, status):
    with db.write() as c:
        turn = add_turn(c, add_session(c))
        assert turns.end(c, turn.id, Ending(status, "x"), T0)
        over = turns.get_any(c, turn.id)

        assert not turns.end(c, turn.id, DONE, after(9))
        assert not turns.start(c, turn.id, T0)
        assert not turns.go_on(c, turn.id)
        with pytest.raises(TurnOver):
            turns.requeue(c, turn.id)
        assert turns.get_any(c, turn.id) == over
        assert turns.open_turns(c, turn.session) == []


def test_an_ending_that_ends_nothing_is_refused(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))

        with pytest.raises(ValueError, match="does not end"):
            turns.end(c, turn.id, Ending(TurnStatus.QUEUED, "x"), T0)


def test_a_lost_turn_is_queued_again_at_its_place_as_the_next_attempt(db):
    with db.write() as c:
        session = add_session(c)
        lost = add_turn(c, session, text="lost")
        add_turn(c, session, text="next")
        turns.start(c, lost.id, T0)
        turns.wait(c, lost.id)

        assert turns.requeue(c, lost.id) == 2
        assert turns.requeue(c, lost.id) == 2
        assert line(c, session) == ["lost", "next"]
        assert turns.start(c, lost.id, after(5))
        assert turns.requeue(c, lost.id) == 3
        with pytest.raises(NotFound):
            turns.requeue(c, TurnId("trn_none"))


def test_of_twenty_ends_of_one_turn_exactly_one_is_taken(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))

    answers = at_once(db, 20, lambda c: turns.end(c, turn.id, DONE, T0))

    assert sorted(answers) == [False] * 19 + [True]


def test_a_start_and_a_cancel_at_once_leave_the_turn_cancelled(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))
    cancel = Ending(TurnStatus.CANCELLED, "cancelled")

    answers = each_at_once(db, [lambda c: turns.start(c, turn.id, T0), lambda c: turns.end(c, turn.id, cancel, T0)] * 5)

    assert sum(answers[1::2]) == 1
    assert sum(answers[0::2]) <= 1
    with db.read() as c:
        assert turns.get_any(c, turn.id).status is TurnStatus.CANCELLED


def test_pages_of_turns_are_filtered_and_newest_first(db):
    with db.write() as c:
        session = add_session(c)
        add_turn(c, add_session(c), text="of another session")
        for n in range(5):
            add_turn(c, session, text=str(n), created_at=after(n))
        turns.end(c, turns.open_turns(c, session)[0].id, DONE, T0)

        first, cursor = turns.page(c, ACME, session, limit=3)
        rest, end = turns.page(c, ACME, session, cursor=cursor, limit=3)
        over, _ = turns.page(c, ACME, session, status=[TurnStatus.COMPLETED])

        assert [turn.text for turn in first + rest] == ["4", "3", "2", "1", "0"]
        assert end is None
        assert [turn.text for turn in over] == ["0"]
        with pytest.raises(InvalidField):
            turns.page(c, ACME, session, cursor="!")


def test_token_counts_of_a_later_release_are_left_alone(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))
        c.execute(tables.turns.update().values(usage={"input_tokens": 7, "dream_tokens": 1}))

        assert turns.get_any(c, turn.id).usage == Usage(input_tokens=7)
