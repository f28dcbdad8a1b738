"""The price table: exact arithmetic, the first fitting price, and mistakes that are told."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.prices import Price, parse
from shared.domain.usage import Usage
from shared.settings import reading as settings
from shared.settings.entry import SettingError

TABLE = """
["gpt-5-mini*"]
input = 0.25
output = 2
cache_read = 0.025

["gpt-5*"]
input = 1.25
output = 10
"""
COUNTS = st.integers(0, 10**9)
DOLLARS = st.decimals(0, 1000, places=4)


@given(st.tuples(DOLLARS, DOLLARS, DOLLARS, DOLLARS), st.tuples(COUNTS, COUNTS, COUNTS, COUNTS))
def test_a_turn_costs_its_tokens_times_their_prices_rounded_once(dollars, counts):
    cost = Price("*", *dollars).micro_usd(Usage(*counts))

    exact = sum(Fraction(price) * count for price, count in zip(dollars, counts, strict=True))
    assert abs(cost - exact) <= Fraction(1, 2)


def test_the_first_price_that_fits_counts_and_cached_tokens_cost_as_read_ones_unless_told():
    table = parse(TABLE)

    assert table.micro_usd("gpt-5-mini-2026", Usage(1000, 100, 10_000, 1000)) == 250 + 200 + 250 + 250
    assert table.micro_usd("gpt-5.1", Usage(1000, 100, 1000, 0)) == 1250 + 1000 + 1250
    assert table.micro_usd("claude", Usage(1)) is None
    assert table.micro_usd(None, Usage(1)) is None


def test_a_model_nobody_named_fits_the_star_alone():
    assert parse('{"*": {"input": 1, "output": 1}}').micro_usd(None, Usage(3)) == 3


def test_json_prices_are_decimal_from_the_first():
    assert parse('{"*": {"input": 0.1, "output": 0.1}}').prices[0].input == Decimal("0.1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "neither JSON nor TOML"),
        ("input = 1", "'input' must have input and output"),
        ('{"m": {"input": 1}}', "'m' must have input and output"),
        ('{"m": {"input": 1, "output": 1, "cached": 1}}', "nothing else"),
        ('{"m": {"input": -1, "output": 1}}', "input of 'm' must be a number"),
        ('{"m": {"input": NaN, "output": 1}}', "input of 'm' must be a number"),
        ('{"m": {"input": 1, "output": "1"}}', "output of 'm' must be a number"),
        ('{"m": {"input": true, "output": 1}}', "input of 'm' must be a number"),
    ],
)
def test_a_mistake_in_the_table_is_told_by_its_entry(text, told):
    with pytest.raises(ValueError, match=told):
        parse(text)


def test_the_setting_takes_a_file_or_the_table_itself_and_says_what_is_wrong(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(TABLE, encoding="utf-8")

    assert str(settings.read({"CORRAL_PRICES": str(file)}).usage.prices) == "gpt-5-mini*, gpt-5*"
    assert str(settings.read({"CORRAL_PRICES": '{"*": {"input": 1, "output": 1}}'}).usage.prices) == "*"
    assert settings.read({"CORRAL_PRICES": ""}).usage.prices.prices == ()
    with pytest.raises(SettingError, match=r"CORRAL_PRICES.*cannot be read"):
        settings.read({"CORRAL_PRICES": str(tmp_path / "none.toml")})
    with pytest.raises(SettingError, match=r"CORRAL_PRICES.*nothing else"):
        settings.read({"CORRAL_PRICES": '{"m": {"in": 1}}'})
