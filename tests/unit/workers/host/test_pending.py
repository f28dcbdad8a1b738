"""The asks of a session: opened once, closed once, expired in time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api.schemas.sessions import CreateSession
from shared.agents.driver import AskOpen
from shared.domain import clock
from shared.domain.ask import AskKind, PermissionAnswer, PlanAnswer, QuestionAnswer, checkpoint_ref
from shared.domain.ids import SessionId, TurnId
from shared.domain.session import Mode, SessionSpec
from workers.host.pending import Pending, refusal

SESSION = SessionId("ses_1")


def opened(pending, ref="r1", now=100.0):
    said = AskOpen(ref, AskKind.PERMISSION, {"tool_name": "Bash", "input": {}})
    return pending.open(said, SESSION, None, at=clock.now(), now=now)


def test_an_ask_expires_after_the_sessions_time():
    pending = Pending(30.0)
    ask = opened(pending)

    assert (ask.expires_at - ask.created_at).total_seconds() == 30.0
    assert pending.next_expiry_s == 130.0
    assert pending.due(129.9) == []
    assert [one.id for one in pending.due(130.0)] == [ask.id]


def test_a_time_of_zero_never_expires():
    pending = Pending(0.0)

    assert opened(pending).expires_at is None
    assert pending.next_expiry_s is None


def test_a_closed_ask_is_known_no_more():
    pending = Pending(30.0)
    ask = opened(pending)

    assert pending.close("r1").id == ask.id
    assert pending.close("r1") is None
    assert pending.by_id(ask.id) is None
    assert not pending


def test_all_are_closed_together():
    pending = Pending(30.0)
    asks = [opened(pending, ref) for ref in ("a", "b")]

    assert [one.id for one in pending.close_all()] == [ask.id for ask in asks]
    assert not pending


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(AskKind.PERMISSION, PermissionAnswer), (AskKind.QUESTION, QuestionAnswer), (AskKind.PLAN, PlanAnswer)],
)
def test_the_refusal_fits_the_kind(kind, answer):
    assert isinstance(refusal(kind), answer)


def test_five_minutes_pass_where_nobody_says_otherwise():
    assert SessionSpec("demo", "folder", {}, Mode.INTERACTIVE).ask_timeout_s == 300.0
    assert CreateSession().fields["ask_timeout_s"].load_default == 300.0


def test_an_ask_that_is_taken_over_keeps_the_time_it_has_left():
    pending = Pending(300.0)
    ask = opened(Pending(60.0))

    pending.adopt(ask, at=ask.created_at + timedelta(seconds=50), now=7.0)

    assert pending.next_expiry_s == 17.0
    assert pending.by_id(ask.id) is not None


def test_a_checkpoint_is_no_business_of_the_agents():
    pending, turn = Pending(300.0), TurnId("trn_1")
    opened(pending)
    said = AskOpen(checkpoint_ref(turn), AskKind.PERMISSION, {})
    held = pending.open(said, SESSION, turn, at=clock.now(), now=100.0)
    assert pending.is_held

    assert [ask.ref for ask in pending.close_agents()] == ["r1"]
    assert [ask.id for ask in pending] == [held.id]
    pending.close(held.ref)
    assert not pending.is_held
