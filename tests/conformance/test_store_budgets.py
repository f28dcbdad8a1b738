"""Budgets: however many turns begin at the same moment, none does beyond what may be spent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from shared.domain.budget import Budget, OnBudget
from shared.domain.turn import Ending, TurnStatus
from shared.store import budgets, turns, usage
from shared.store.usage import UsageFilter
from tests.fixtures.store_rows import ACME, OTHER, T0, add_session, add_turn, after, each_at_once

DAY = Budget(day_micro_usd=1_000_000, turn_micro_usd=100_000, on_budget=OnBudget.STOP)


def add_turns(db, count):
    """Queued turns of as many sessions."""
    with db.write() as c:
        budgets.put(c, ACME, DAY, T0)
        return [add_turn(c, add_session(c)).id for _ in range(count)]


def reserve_all(db, ids, at=T0):
    """Which of these turns may begin, all asking at the same moment."""
    answers = each_at_once(db, [lambda c, turn=turn: budgets.reserve(c, ACME, turn, at) for turn in ids])
    return [turn for turn, answer in zip(ids, answers, strict=True) if answer.may_begin]


def cost(usd):
    return Ending(TurnStatus.COMPLETED, "end_turn", cost_usd=usd)


def test_of_twenty_turns_that_begin_at_once_as_many_may_as_there_is_room_for(db):
    ids = add_turns(db, 20)

    begun = reserve_all(db, ids)

    assert len(begun) == 10
    assert reserve_all(db, begun) == begun
    assert reserve_all(db, [turn for turn in ids if turn not in begun]) == []


def test_of_twenty_workers_at_once_none_begins_a_turn_after_the_budget_is_spent(db):
    ids = add_turns(db, 20)
    together = Barrier(20)
    seen = []

    def work(turn):
        together.wait(20)
        with db.write() as c:
            reserved = budgets.reserve(c, ACME, turn, T0)
            if reserved.may_begin:
                seen.append((reserved.standing.spent_micro_usd, reserved.standing.reserved_micro_usd))
        if reserved.may_begin:
            # Each costs what was reckoned, and ends while others begin.
            with db.write() as c:
                assert turns.start(c, turn, T0)
                assert turns.end(c, turn, cost(0.1), after(1))
        return reserved.may_begin

    with ThreadPoolExecutor(20) as pool:
        begun = list(pool.map(work, ids))

    with db.read() as c:
        total = usage.total(c, ACME, UsageFilter()).micro_usd
        found = budgets.standing(c, ACME, T0)
    assert sum(begun) == 10
    assert all(spent + reserved < DAY.day_micro_usd for spent, reserved in seen)
    assert total == DAY.day_micro_usd
    assert (found.spent_micro_usd, found.reserved_micro_usd, found.is_spent) == (total, 0, True)


def test_a_turn_that_costs_more_than_reckoned_is_the_last_one(db):
    first, second = add_turns(db, 2)
    assert reserve_all(db, [first]) == [first]
    with db.write() as c:
        turns.start(c, first, T0)
        turns.end(c, first, cost(1.5), after(1))

    assert reserve_all(db, [second]) == []
    assert reserve_all(db, [second], at=after(86400.0)) == [second]


@pytest.mark.parametrize("way", ["end", "requeue", "withdraw"])
def test_what_a_turn_reserved_is_free_again_however_it_ends(db, way):
    (turn,) = add_turns(db, 1)
    reserve_all(db, [turn])
    with db.write() as c:
        if way != "withdraw":
            turns.start(c, turn, T0)
        if way == "requeue":
            turns.requeue(c, turn)
        else:
            turns.end(c, turn, Ending(TurnStatus.CANCELLED, "cancelled"), after(1))

        assert budgets.standing(c, ACME, T0).reserved_micro_usd == 0


def test_a_turn_that_has_ended_reserves_nothing_more(db):
    (turn,) = add_turns(db, 1)
    with db.write() as c:
        turns.end(c, turn, Ending(TurnStatus.CANCELLED, "cancelled"), T0)
        budgets.reserve(c, ACME, turn, T0)

        assert budgets.standing(c, ACME, T0).reserved_micro_usd == 0


def test_who_lets_a_turn_go_on_lifts_the_budget_of_that_day_alone(db):
    first, second, third = add_turns(db, 3)
    with db.write() as c:
        turns.start(c, first, T0)
        turns.end(c, first, cost(1.0), after(1))
        budgets.lift(c, ACME, second, 250_000, T0)
        found = budgets.standing(c, ACME, T0)
        budgets.lift(c, OTHER, third, 250_000, T0)

        assert (found.limit_micro_usd, found.reserved_micro_usd, found.is_spent) == (1_250_000, 100_000, False)
        assert budgets.reserve(c, ACME, second, T0).may_begin
        assert budgets.reserve(c, ACME, third, T0).may_begin
        assert budgets.standing(c, ACME, after(86400.0)).limit_micro_usd == 1_000_000
        assert budgets.standing(c, OTHER, T0) is None


def test_it_is_said_once_a_day_that_the_budget_is_nearly_spent(db):
    first, second, third = add_turns(db, 3)
    with db.write() as c:
        turns.start(c, first, T0)
        turns.end(c, first, cost(0.8), after(1))

        assert [budgets.reserve(c, ACME, turn, T0).warns for turn in (second, third)] == [True, False]
        turns.start(c, second, after(86400.0))
        turns.end(c, second, cost(0.85), after(86400.0))
        assert [budgets.reserve(c, ACME, third, after(86400.0)).warns for _ in range(2)] == [True, False]


def test_a_tenant_without_a_budget_may_begin_whatever_it_likes(db):
    (turn,) = add_turns(db, 1)
    with db.write() as c:
        budgets.put(c, ACME, None, T0)

        assert budgets.reserve(c, ACME, turn, T0) == budgets.Reserved(may_begin=True, standing=None)
        assert budgets.standing(c, ACME, T0) is None
