"""Tokens, cost and time: of one turn as its agent or the price table tells, and summed up over many.

Money is counted in whole millionths of a dollar, so that sums over any number of turns are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Final

from shared.domain.json import JsonObject

MICRO: Final = 1_000_000
MOST: Final = 10**12
"""What one turn may count at most, in tokens or millionths of a dollar: an agent that tells more is not believed."""


class CostSource(StrEnum):
    """Where a cost comes from."""

    AGENT = "agent"
    PRICE_TABLE = "price_table"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one turn."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    def clipped(self) -> Usage:
        """The same, each count between 0 and MOST."""
        return Usage(
            _clip(self.input_tokens),
            _clip(self.output_tokens),
            _clip(self.cache_read_tokens),
            _clip(self.cache_write_tokens),
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What one turn has used so far. A cost of None is unknown, not nothing."""

    usage: Usage | None = None
    cost_usd: float | None = None
    cost_source: CostSource | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What many turns used together. A cost of None: none of them had one from there."""

    turns: int = 0
    usage: Usage = Usage()
    agent_micro_usd: int | None = None
    table_micro_usd: int | None = None
    unpriced_turns: int = 0
    """Turns that used tokens and whose cost nobody knows: what is missing from the cost."""
    turn_ms: int = 0
    """From start to end, without the time a human was waited for."""
    waited_ms: int = 0

    @property
    def micro_usd(self) -> int | None:
        """The known cost; None where no turn had one."""
        known = [cost for cost in (self.agent_micro_usd, self.table_micro_usd) if cost is not None]
        return sum(known) if known else None


def to_micro_usd(cost_usd: float) -> int:
    """Dollars as whole millionths, between 0 and MOST; what is no number is 0.

    A float is taken for the shortest decimal that is written like it, as its sender wrote it.
    """
    if not math.isfinite(cost_usd):
        return 0
    return _clip(int((Decimal(str(cost_usd)) * MICRO).to_integral_value(ROUND_HALF_EVEN)))


def to_usd(micro_usd: int) -> float:
    """Whole millionths as dollars, for the wire."""
    return micro_usd / MICRO


def read_spent(data: JsonObject) -> Spent:
    """What the data of a `usage` event says."""
    counts = [
        _count(data, name) for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    ]
    cost, source = data.get("cost_usd"), data.get("cost_source")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost):
        return Spent(Usage(*counts))
    is_priced = source == CostSource.PRICE_TABLE.value
    return Spent(Usage(*counts), float(cost), CostSource.PRICE_TABLE if is_priced else CostSource.AGENT)


def waited_ms(waits: list[tuple[float, float]], began_s: float, ended_s: float) -> int:
    """Milliseconds between the two moments in which at least one of `waits` (from, to; seconds) lasted."""
    total_s, upto_s = 0.0, began_s
    for first_s, last_s in sorted(waits):
        total_s += max(0.0, min(last_s, ended_s) - max(first_s, upto_s))
        upto_s = max(upto_s, last_s)
    return round(total_s * 1000)


def _count(data: JsonObject, name: str) -> int:
    value = data.get(name)
    return _clip(value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _clip(count: int) -> int:
    return max(0, min(count, MOST))
