"""Money in whole millionths, waiting told apart from work, and what an agent may say of its use."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.turn import Ending, TurnStatus
from shared.domain.usage import MOST, CostSource, Spent, Totals, Usage, read_spent, to_micro_usd, to_usd, waited_ms

MICROS = st.integers(0, MOST)


@given(st.lists(st.integers(0, 10**9), max_size=200))
def test_a_sum_of_costs_is_exact_whatever_the_floats_they_came_as(costs):
    assert sum(to_micro_usd(to_usd(cost)) for cost in costs) == sum(costs)


def test_ten_tenths_are_a_dollar():
    assert sum(to_micro_usd(0.1) for _ in range(10)) == to_micro_usd(1.0)
    assert sum(0.1 for _ in range(10)) < 1.0


@given(st.floats(0, 1e6))
def test_a_cost_is_rounded_by_half_a_millionth_at_most(cost):
    assert abs(Decimal(to_micro_usd(cost)) / 10**6 - Decimal(str(cost))) <= Decimal("0.0000005")


@pytest.mark.parametrize(("cost", "counted"), [(math.nan, 0), (math.inf, 0), (-1.0, 0), (1e300, MOST)])
def test_a_cost_that_cannot_be_is_counted_within_bounds(cost, counted):
    assert to_micro_usd(cost) == counted


def test_the_cost_of_nothing_known_is_unknown_and_not_nothing():
    assert Totals().micro_usd is None
    assert Totals(agent_micro_usd=0).micro_usd == 0
    assert Totals(agent_micro_usd=2, table_micro_usd=3).micro_usd == 5


@pytest.mark.parametrize(
    ("data", "spent"),
    [
        ({}, Spent(Usage())),
        ({"input_tokens": 5, "cost_usd": 0.5}, Spent(Usage(5), 0.5, CostSource.AGENT)),
        (
            {"output_tokens": 7, "cost_usd": 1, "cost_source": "price_table"},
            Spent(Usage(0, 7), 1.0, CostSource.PRICE_TABLE),
        ),
        ({"input_tokens": True, "output_tokens": "9", "cache_read_tokens": -3, "cost_usd": "1"}, Spent(Usage())),
        ({"input_tokens": 10**30, "cost_usd": math.nan}, Spent(Usage(MOST))),
        ({"cost_usd": True}, Spent(Usage())),
    ],
)
def test_a_usage_event_is_read_for_what_it_can_mean(data, spent):
    assert read_spent(data) == spent


@pytest.mark.parametrize(
    ("waits", "expected_ms"),
    [
        ([], 0),
        ([(12.0, 15.0)], 3000),
        ([(12.0, 15.0), (13.0, 14.0)], 3000),
        ([(13.0, 16.0), (12.0, 14.0)], 4000),
        ([(0.0, 11.0), (18.0, 99.0)], 3000),
        ([(0.0, 5.0), (30.0, 40.0)], 0),
    ],
)
def test_time_in_which_several_asks_are_open_counts_once_and_only_within_the_turn(waits, expected_ms):
    assert waited_ms(waits, 10.0, 20.0) == expected_ms


def test_an_ending_takes_what_was_told_before_only_where_it_knows_nothing_itself():
    told = Spent(Usage(1), 0.5, CostSource.AGENT)
    bare = Ending(TurnStatus.FAILED, "agent_exited")
    known = Ending(TurnStatus.COMPLETED, "end_turn", usage=Usage(9))

    assert bare.with_spent(told).data() | {"error": None} == {
        "status": "failed",
        "stop_reason": "agent_exited",
        "result_text": None,
        "error": None,
        "usage": {"input_tokens": 1, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0},
        "cost_usd": 0.5,
        "cost_source": "agent",
    }
    assert known.with_spent(told) is known
    assert bare.with_spent(None) is bare
