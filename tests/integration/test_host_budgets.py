"""A host keeps to budgets: nothing begins beyond one, a human may lift it, and each turn still ends exactly once."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from shared.domain import clock
from shared.domain.budget import Budget, OnBudget
from shared.domain.input import InputKind
from shared.domain.session import Limits
from shared.store import budgets
from tests.fixtures.hosts import SPEC, Stage, play

pytestmark = pytest.mark.timeout(60)

ASKING = replace(SPEC, on_budget=OnBudget.ASK, limits=Limits(max_cost_usd=0.4))


def set_budget(stage: Stage, on_budget=OnBudget.STOP, day=1_000_000, turn=600_000):
    with stage.database.write() as connection:
        budgets.put(connection, stage.seeds.tenant, Budget(day, turn, on_budget), clock.now())


def standing(stage: Stage):
    with stage.database.read() as connection:
        return budgets.standing(connection, stage.seeds.tenant, clock.now())


def notices(stage: Stage, session, kind):
    return [data for data in stage.told(session, "notice") if data["kind"] == kind]


def test_no_turn_begins_once_the_tenants_day_is_spent(database_url, tmp_path):
    async def story(stage: Stage):
        set_budget(stage)
        first = stage.session(prompt="usage 1 1 0.85")
        await stage.event(first, "session_idle")
        second = stage.session(prompt="usage 1 1 0.3")
        await stage.event(second, "turn_ended")
        turn = stage.prompt(second, "say too late")
        await stage.event(second, "turn_ended", 2)
        await stage.status(second, "idle")
        return stage.log(second), stage.turn(turn), standing(stage), notices(stage, second, "budget_warning")

    log, late, found, warned = play(database_url, tmp_path, story)

    assert (late.status, late.stop_reason, late.started_at) == ("failed", "budget_exhausted", None)
    assert late.error == "The tenant's budget of the day is spent: 1.15 of 1.0 USD."
    assert [kind for kind, _ in log].count("turn_started") == 1
    assert (found.spent_micro_usd, found.reserved_micro_usd) == (1_150_000, 0)
    assert warned == [{"kind": "budget_warning", "scope": "tenant_day", "spent_usd": 0.85, "limit_usd": 1.0}]


def test_a_turn_waits_while_those_under_way_may_spend_the_rest_and_then_goes_on(database_url, tmp_path):
    async def story(stage: Stage):
        set_budget(stage, day=1_000_000, turn=1_000_000)
        first = stage.session(prompt="ask Go on? | yes; usage 1 1 0.1")
        opened = await stage.event(first, "question")
        second = stage.session(prompt="say now")
        await stage.event(second, "session_started")
        began_before = stage.told(second, "turn_started")
        stage.answer(opened["ask_id"], {"answers": {"Go on?": "yes"}})
        ended = await stage.event(second, "turn_ended")
        return began_before, ended["status"], standing(stage).reserved_micro_usd

    assert play(database_url, tmp_path, story) == ([], "completed", 0)


@pytest.mark.parametrize("unit", ["usd", "tokens"])
def test_a_human_may_let_a_session_go_on_beyond_its_budget_by_what_was_stated(sqlite_url, tmp_path, unit):
    limits = Limits(max_cost_usd=0.4) if unit == "usd" else Limits(max_tokens=400)
    spend = "usage 1 1 0.45" if unit == "usd" else "usage 400 50 0"

    async def story(stage: Stage):
        session = stage.session(replace(ASKING, limits=limits), prompt=spend)
        stage.prompt(session, "say beyond")
        opened = await stage.event(session, "permission_request")
        before = stage.types(session)
        stage.answer(opened["ask_id"], {"decision": "allow"})
        await stage.event(session, "turn_ended", 2)
        return opened, before, stage.log(session), stage.stored(session)

    opened, before, log, stored = play(sqlite_url, tmp_path, story)

    spent, limit, lift = (0.45, 0.4, 0.1) if unit == "usd" else (450, 400, 100)
    assert opened["tool_name"] == "corral.budget"
    assert opened["input"] == {"scope": "session", f"spent_{unit}": spent, f"limit_{unit}": limit, f"lift_{unit}": lift}
    assert before.count("message") == 0
    assert [(data["kind"], data.get(f"lift_{unit}")) for kind, data in log if kind == "notice"] == [
        ("budget_warning", None),
        ("budget_lifted", lift),
    ]
    ended = [data for kind, data in log if kind == "turn_ended"]
    assert (ended[1]["status"], ended[1]["result_text"]) == ("completed", "beyond")
    assert (stored.spec.limits.max_cost_usd, stored.spec.limits.max_tokens) == (
        (0.5, None) if unit == "usd" else (None, 500)
    )
    assert stored.status == "idle"


@pytest.mark.parametrize(
    ("on_budget", "ended_as"),
    [(OnBudget.STOP, ("failed", "budget_exhausted")), (OnBudget.ASK, ("completed", "end_turn"))],
)
def test_a_turn_that_was_held_at_its_checkpoint_is_held_to_the_budget_too(sqlite_url, tmp_path, on_budget, ended_as):
    async def story(stage: Stage):
        set_budget(stage, on_budget)
        session = stage.session(prompt="usage 1 1 1.2")
        await stage.event(session, "session_idle")
        turn = stage.prompt(session, "say beyond", confirm=True)
        checkpoint = await stage.event(session, "permission_request")
        stage.answer(checkpoint["ask_id"], {"decision": "allow"})
        if on_budget is OnBudget.ASK:
            beyond = await stage.event(session, "permission_request", 2)
            stage.answer(beyond["ask_id"], {"decision": "allow"})
        await stage.event(session, "turn_ended", 2)
        await stage.status(session, "idle")
        return stage.turn(turn), stage.types(session).count("message"), stage.stored(session), standing(stage)

    turn, said, session, found = play(sqlite_url, tmp_path, story)

    ran = on_budget is OnBudget.ASK
    assert (turn.status, turn.stop_reason) == ended_as
    assert (said, session.turns_started) == (int(ran), 1 + int(ran))
    assert found.reserved_micro_usd == 0


def test_a_human_may_lift_the_tenants_day(database_url, tmp_path):
    async def story(stage: Stage):
        set_budget(stage, OnBudget.ASK)
        session = stage.session(prompt="usage 1 1 1.2")
        stage.prompt(session, "usage 1 1 0.5")
        stage.prompt(session, "say never")
        opened = await stage.event(session, "permission_request")
        stage.answer(opened["ask_id"], {"decision": "allow"})
        again = await stage.event(session, "permission_request", 2)
        stage.answer(again["ask_id"], {"decision": "deny"})
        await stage.event(session, "turn_ended", 3)
        await stage.status(session, "idle")
        return opened["input"], again["input"], stage.told(session, "turn_ended"), standing(stage)

    first, again, ended, found = play(database_url, tmp_path, story)

    assert (first["scope"], first["limit_usd"], first["lift_usd"]) == ("tenant_day", 1.0, 0.25)
    assert (again["spent_usd"], again["limit_usd"]) == (1.7, 1.25)
    assert [(turn["status"], turn["stop_reason"]) for turn in ended] == [
        ("completed", "end_turn"),
        ("completed", "end_turn"),
        ("failed", "budget_exhausted"),
    ]
    assert (found.lifted_micro_usd, found.reserved_micro_usd) == (250_000, 0)


def test_a_held_turn_can_be_cancelled_and_its_ask_is_lost(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(ASKING, prompt="usage 1 1 0.4")
        turn = stage.prompt(session, "say never")
        await stage.event(session, "permission_request")
        await stage.status(session, "waiting")
        stage.wish(session, InputKind.CANCEL, turn=turn)
        await stage.event(session, "turn_ended", 2)
        await stage.status(session, "idle")
        return stage.turn(turn), stage.told(session, "ask_resolved")

    turn, resolved = play(sqlite_url, tmp_path, story)

    assert (turn.status, turn.stop_reason) == ("cancelled", "cancelled")
    assert [ask["status"] for ask in resolved] == ["lost"]


def test_a_question_about_a_budget_outlives_the_agents_process(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(ASKING, prompt="usage 1 1 0.4")
        stage.prompt(session, "say on")
        opened = await stage.event(session, "permission_request")
        for pid in stage.processes(session):
            os.kill(pid, signal.SIGKILL)
        await stage.until(lambda: not stage.processes(session))
        stage.answer(opened["ask_id"], {"decision": "allow"})
        await stage.event(session, "turn_ended", 2)
        return stage.told(session, "turn_ended")[1], stage.told(session, "ask_resolved")

    ended, resolved = play(sqlite_url, tmp_path, story)

    assert (ended["status"], ended["result_text"]) == ("completed", "on")
    assert [ask["status"] for ask in resolved] == ["applied"]


def test_nobody_who_answers_is_a_no(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(replace(ASKING, ask_timeout_s=0.2), prompt="usage 1 1 0.4")
        stage.prompt(session, "say never")
        await stage.event(session, "turn_ended", 2)
        return stage.told(session, "turn_ended")[1], stage.told(session, "ask_resolved")

    ended, resolved = play(sqlite_url, tmp_path, story)

    assert ended["stop_reason"] == "budget_exhausted"
    assert [ask["status"] for ask in resolved] == ["expired"]
