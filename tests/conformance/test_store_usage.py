"""Usage rows: one a turn that began, with its end, whatever ended it; sums that are exact and outlive the session."""

from __future__ import annotations

import json

import pytest

from shared.domain.errors import InvalidField, TurnOver
from shared.domain.event import Event
from shared.domain.turn import Ending, TurnStatus
from shared.domain.usage import CostSource, Totals, Usage
from shared.store import asks, events, heads, retention, sessions, turns, usage
from shared.store.usage import Group, Grouping, UsageFilter
from tests.fixtures.store_rows import ACME, OTHER, SEALER, T0, add_ask, add_session, add_turn, after, at_once

ALL = UsageFilter()


def spent(cost: float | None = 0.1, *, source: CostSource = CostSource.AGENT, model: str | None = None) -> Ending:
    return Ending(
        TurnStatus.COMPLETED, "end_turn", usage=Usage(1, 2, 3, 4), cost_usd=cost, cost_source=source, model=model
    )


def run(c, session, ending=None, *, began=0.0, ended=10.0):
    """A turn that ran."""
    turn = add_turn(c, session)
    assert turns.start(c, turn.id, after(began))
    assert turns.end(c, turn.id, ending or spent(), after(ended))
    return turn


def say_used(c, session, turn, tokens, kind="usage"):
    """The agent says what the turn used so far."""
    seq = heads.reserve(c, session, 1, T0)
    events.insert(c, [Event(session, seq, kind, turn, "2026", json.dumps({"input_tokens": tokens, "cost_usd": 0.25}))])


def test_a_turn_counts_once_however_many_end_it(db):
    with db.write() as c:
        session = add_session(c)
        turn = add_turn(c, session)
        turns.start(c, turn.id, T0)

    at_once(db, 10, lambda c: turns.end(c, turn.id, spent(0.5), after(2)))

    with db.read() as c:
        assert usage.total(c, ACME, ALL) == Totals(1, Usage(1, 2, 3, 4), 500_000, None, 0, 2000, 0)
        assert sessions.get_any(c, session, SEALER).cost_usd == 0.5


def test_a_turn_that_never_began_does_not_count(db):
    with db.write() as c:
        turn = add_turn(c, add_session(c))
        turns.end(c, turn.id, Ending(TurnStatus.CANCELLED, "cancelled"), T0)

        assert usage.total(c, ACME, ALL) == Totals()


def test_a_thousand_tenths_of_a_cent_are_a_dollar(db):
    with db.write() as c:
        session = add_session(c)
        for _ in range(100):
            run(c, session, spent(0.01))

        assert usage.total(c, ACME, ALL).micro_usd == 1_000_000


def test_waiting_for_a_human_is_told_apart_from_work(db):
    with db.write() as c:
        session = add_session(c)
        turn = add_turn(c, session)
        turns.start(c, turn.id, T0)
        for created, resolved in ((2, 5), (3, 6)):
            ask = add_ask(c, session, turn=turn.id, created_at=after(created))
            asks.lose(c, ask.id, after(resolved))
        add_ask(c, session, created_at=after(1))
        turns.end(c, turn.id, spent(), after(10))

        total = usage.total(c, ACME, ALL)
    assert (total.turn_ms, total.waited_ms) == (6000, 4000)


def test_a_lost_attempt_counts_what_it_had_said_and_the_turn_counts_once(db):
    with db.write() as c:
        session = add_session(c)
        turn = add_turn(c, session)
        turns.start(c, turn.id, T0)
        say_used(c, session, turn.id, 40)
        say_used(c, session, turn.id, 70)
        turns.requeue(c, turn.id)
        assert turns.requeue(c, turn.id) == 2
        turns.start(c, turn.id, T0)
        turns.end(c, turn.id, spent(0.5), after(1))
        with pytest.raises(TurnOver):
            turns.requeue(c, turn.id)

        total = usage.of_session(c, session)
    assert (total.turns, total.usage.input_tokens, total.micro_usd) == (1, 71, 750_000)


def test_what_an_attempt_said_is_not_held_against_the_next(db):
    with db.write() as c:
        session = add_session(c)
        turn = add_turn(c, session)
        say_used(c, session, turn.id, 40)
        told = usage.told(c, session, turn.id)
        say_used(c, session, turn.id, 0, kind="turn_started")

        assert told is not None
        assert told.usage == Usage(40)
        assert usage.told(c, session, turn.id) is None


def test_costs_are_told_by_who_says_so_and_what_is_missing_is_counted(db):
    with db.write() as c:
        session = add_session(c)
        run(c, session, spent(0.25))
        run(c, session, spent(0.5, source=CostSource.PRICE_TABLE))
        run(c, session, spent(None))
        run(c, session, Ending(TurnStatus.FAILED, "error"))

        total = usage.of_session(c, session)
    assert (total.agent_micro_usd, total.table_micro_usd, total.micro_usd) == (250_000, 500_000, 750_000)
    assert (total.turns, total.unpriced_turns) == (4, 1)


def test_an_agent_that_tells_the_impossible_is_counted_within_bounds(db):
    with db.write() as c:
        session = add_session(c)
        absurd = Ending(
            TurnStatus.COMPLETED, "end_turn", usage=Usage(10**30, -5), cost_usd=1e300, model="m\x00" + "x" * 999
        )
        run(c, session, absurd)

        (group,) = usage.page(c, ACME, Grouping.MODEL, ALL)[0]
    assert (group.totals.usage, group.totals.micro_usd) == (Usage(10**12), 10**12)
    assert group.name == ("m\\u0000" + "x" * 999)[:200]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        (Grouping.DAY, ["2026-02-01", "2026-01-31"]),
        (Grouping.AGENT, ["demo", "claude"]),
        (Grouping.MODEL, ["m-2", "m-1", ""]),
        (Grouping.KEY, [""]),
    ],
)
def test_usage_is_summed_up_by_what_is_asked_for_in_pages_of_the_tenant_alone(db, by, names):
    with db.write() as c:
        run(c, add_session(c, agent="claude", model="m-1"))
        run(c, add_session(c), spent(model="m-2"), ended=86400.0)
        run(c, add_session(c))

        whole, onward = usage.page(c, ACME, by, ALL)
        paged, cursor = [], None
        while page := usage.page(c, ACME, by, ALL, cursor=cursor, limit=1):
            paged += page[0]
            cursor = page[1]
            if cursor is None:
                break
        assert usage.page(c, OTHER, by, ALL) == ([], None)
        assert usage.total(c, OTHER, ALL) == Totals()
    assert [group.name for group in whole] == names
    assert (paged, onward) == (whole, None)
    assert sum(group.totals.turns for group in whole) == 3


def test_usage_is_filtered_by_day_session_and_agent(db):
    with db.write() as c:
        one = add_session(c)
        run(c, one)
        run(c, one, ended=86400.0)
        run(c, add_session(c, agent="claude"))

        def count(**wanted):
            return usage.total(c, ACME, UsageFilter(**wanted)).turns

        assert count(first_day="2026-02-01") == count(last_day="2026-01-31", session=one) == 1
        assert count(first_day="2026-01-31", last_day="2026-01-31") == count(session=one) == 2
        assert count(agent="claude") == 1
        assert [group.name for group in usage.page(c, ACME, Grouping.SESSION, UsageFilter(session=one))[0]] == [one]


def test_a_cursor_of_another_list_is_refused(db):
    with db.read() as c, pytest.raises(InvalidField):
        usage.page(c, ACME, Grouping.DAY, ALL, cursor="bm9uc2Vuc2U")


def test_retention_takes_the_session_and_leaves_what_it_cost(db):
    with db.write() as c:
        session = add_session(c)
        run(c, session)
        heads.end(c, session, "terminated", None, after(20))

    assert retention.trim(db, before=after(1000)).sessions == 1

    with db.read() as c:
        assert usage.page(c, ACME, Grouping.SESSION, ALL) == ([Group(session, usage.of_session(c, session))], None)
        assert usage.total(c, ACME, ALL).micro_usd == 100_000
        assert usage.knows_session(c, ACME, session)
        assert not usage.knows_session(c, OTHER, session)
