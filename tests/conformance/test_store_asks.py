"""Asks: the first answer wins, and every other way out is as final."""

from __future__ import annotations

import pytest

from shared.domain.ask import AskStatus, checkpoint_ref
from shared.domain.ids import AskId
from shared.store import asks
from tests.fixtures.store_rows import ACME, OTHER, T0, add_ask, add_session, add_turn, after, at_once, each_at_once


def say(c, ask, by="key_1"):
    return asks.answer(c, ask.id, answer={"decision": "allow"}, by=by, via="api", at=after(1))


def test_an_ask_comes_back_as_it_was_made_to_its_tenant_only(db):
    with db.write() as c:
        ask = add_ask(c, add_session(c), turn=None, expires_at=after(300))

        assert asks.get(c, ACME, ask.id) == ask
        assert asks.get_any(c, ask.id) == ask
        assert asks.get(c, OTHER, ask.id) is None
        assert asks.page(c, OTHER) == ([], None)
        assert asks.get_any(c, AskId("ask_none")) is None


def test_an_answer_is_kept_with_who_gave_it_and_how(db):
    with db.write() as c:
        ask = add_ask(c, add_session(c))
        assert say(c, ask)

        kept = asks.get_any(c, ask.id)
    assert (kept.status, kept.answer) == (AskStatus.ANSWERED, {"decision": "allow"})
    assert (kept.answered_by, kept.answered_via, kept.resolved_at) == ("key_1", "api", after(1))


def test_of_twenty_answers_at_once_exactly_one_is_taken(db):
    with db.write() as c:
        ask = add_ask(c, add_session(c))
    names = iter([f"key_{n}" for n in range(20)])

    def answer(c):
        name = next(names)
        return name if say(c, ask, by=name) else None

    [winner] = [name for name in at_once(db, 20, answer) if name]

    with db.read() as c:
        assert asks.get_any(c, ask.id).answered_by == winner


def test_an_answer_and_an_expiry_at_once_agree_on_one_of_them(db):
    with db.write() as c:
        ask = add_ask(c, add_session(c), expires_at=T0)

    answers = each_at_once(db, [lambda c: say(c, ask), lambda c: asks.expire(c, ask.id, T0)] * 5)

    assert answers.count(True) == 1


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (AskStatus.OPEN, {"answer", "lose", "expire"}),
        (AskStatus.ANSWERED, {"apply", "lose"}),
        (AskStatus.APPLIED, set()),
        (AskStatus.LOST, set()),
        (AskStatus.EXPIRED, set()),
    ],
)
@pytest.mark.parametrize("move", ["answer", "apply", "lose", "expire"])
def test_an_ask_makes_its_legal_moves_only(db, origin, allowed, move):
    with db.write() as c:
        ask = add_ask(c, add_session(c), status=origin)

        did = say(c, ask) if move == "answer" else getattr(asks, move)(c, ask.id, after(2))

        assert did is (move in allowed)
        assert (asks.get_any(c, ask.id) == ask) is not did


def test_open_and_unresolved_asks_of_a_session_come_in_order(db):
    with db.write() as c:
        session = add_session(c)
        second = add_ask(c, session, created_at=after(2))
        first = add_ask(c, session, created_at=after(1))
        add_ask(c, session, status=AskStatus.APPLIED)
        add_ask(c, add_session(c))
        say(c, first)

        assert [ask.id for ask in asks.open_of(c, session)] == [second.id]
        assert [ask.id for ask in asks.unresolved_of(c, session)] == [first.id, second.id]


def test_due_are_open_asks_whose_time_is_over(db):
    with db.write() as c:
        session = add_session(c)
        late = add_ask(c, session, expires_at=after(20))
        later = add_ask(c, session, expires_at=after(10))
        add_ask(c, session, expires_at=after(31))
        add_ask(c, session, expires_at=None)
        add_ask(c, session, expires_at=after(5), status=AskStatus.ANSWERED)

        assert [ask.id for ask in asks.due(c, after(20), 10)] == [later.id, late.id]
        assert [ask.id for ask in asks.due(c, after(30), 1)] == [later.id]


def test_pages_of_asks_are_filtered_and_newest_first(db):
    with db.write() as c:
        session, other = add_session(c), add_session(c)
        made = [add_ask(c, session, created_at=after(n)).id for n in range(4)]
        elsewhere = add_ask(c, other, created_at=after(9), status=AskStatus.LOST).id

        page, cursor = asks.page(c, ACME, limit=3)
        rest, _ = asks.page(c, ACME, cursor=cursor, limit=3)

        assert [ask.id for ask in page + rest] == [elsewhere, *reversed(made)]
        assert [ask.id for ask in asks.page(c, ACME, session=session)[0]] == list(reversed(made))
        assert [ask.id for ask in asks.page(c, ACME, status=[AskStatus.LOST])[0]] == [elsewhere]


def test_the_ask_before_a_turn_is_found_and_told_from_what_its_agent_asks(db):
    with db.write() as c:
        session = add_session(c)
        turn, other = add_turn(c, session, confirm=True), add_turn(c, session)
        ask = {"turn": turn.id, "created_at": after(1)}
        lost = add_ask(c, session, **ask, ref=checkpoint_ref(turn.id), status=AskStatus.LOST)
        first = add_ask(c, session, **(ask | {"created_at": after(2)}), ref=checkpoint_ref(turn.id))
        agents = add_ask(c, session, **(ask | {"created_at": after(3)}), ref=checkpoint_ref(other.id))

        assert asks.checkpoint_of(c, session, turn.id) == first
        assert asks.checkpoint_of(c, session, other.id) is None
        assert [one.is_checkpoint for one in (lost, first, agents)] == [True, True, False]
