"""What tokens cost where an agent tells only how many: prices by model, as the operator wrote them down."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any, Final

from shared.domain.usage import MOST, Usage

_FIELDS: Final = ("input", "output", "cache_read", "cache_write")
_DEAREST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens of each kind, for models whose name matches `pattern` (`*`, `?`, `[…]`)."""

    pattern: str
    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal

    def micro_usd(self, usage: Usage) -> int:
        """What these tokens cost, rounded once, at the end. A dollar a million tokens is a millionth a token."""
        exact = (
            self.input * usage.input_tokens
            + self.output * usage.output_tokens
            + self.cache_read * usage.cache_read_tokens
            + self.cache_write * usage.cache_write_tokens
        )
        return min(int(exact.to_integral_value(ROUND_HALF_EVEN)), MOST)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices in the order in which they are tried."""

    prices: tuple[Price, ...] = ()

    def __str__(self) -> str:
        return ", ".join(price.pattern for price in self.prices)

    def price_of(self, model: str | None) -> Price | None:
        """The first price that fits; a model that nobody named fits `*` alone."""
        name = model or ""
        return next((price for price in self.prices if fnmatchcase(name, price.pattern)), None)

    def micro_usd(self, model: str | None, usage: Usage) -> int | None:
        """What these tokens cost, in millionths of a dollar; None where no price fits."""
        price = self.price_of(model)
        return None if price is None else price.micro_usd(usage)


def parse(text: str) -> PriceTable:
    """Read a price table, JSON or TOML: `{"<pattern>": {"input", "output", "cache_read"?, "cache_write"?}}`.

    Cached tokens cost what read ones do where nothing else is said.

    Raises:
        ValueError: it is none; says which entry is wrong and how.
    """
    return PriceTable(tuple(_price(pattern, entry) for pattern, entry in _parsed(text).items()))


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        # As decimals from the first: 0.1 is to be a tenth.
        if text.lstrip().startswith("{"):
            found: Mapping[str, Any] = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
        else:
            found = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as problem:
        msg = f"it is neither JSON nor TOML: {problem}"
        raise ValueError(msg) from problem
    return found


def _price(pattern: str, entry: object) -> Price:
    if not isinstance(entry, dict) or not {"input", "output"} <= entry.keys() <= set(_FIELDS):
        msg = f"{pattern!r} must have input and output, and may have cache_read and cache_write, nothing else"
        raise ValueError(msg)
    given = {name: _amount(pattern, name, value) for name, value in entry.items()}
    read = given["input"]
    return Price(pattern, read, given["output"], given.get("cache_read", read), given.get("cache_write", read))


def _amount(pattern: str, name: str, value: object) -> Decimal:
    try:
        amount = Decimal("NaN") if isinstance(value, bool) or not isinstance(value, int | Decimal) else Decimal(value)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _DEAREST:
        msg = f"{name} of {pattern!r} must be a number of US dollars for a million tokens, from 0 to {_DEAREST}"
        raise ValueError(msg)
    return amount
