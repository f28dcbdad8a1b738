"""What one hosted session and its running turn have used, priced where the agent tells only tokens. Pure."""

from __future__ import annotations

from dataclasses import replace

from shared.domain.json import JsonObject
from shared.domain.prices import PriceTable
from shared.domain.turn import Ending
from shared.domain.usage import CostSource, Spent, Totals, Usage, read_spent, to_micro_usd, to_usd


class Meter:
    """Reads along what the agent says of tokens and cost. For the loop."""

    def __init__(self, prices: PriceTable, *, model: str | None, cost_usd: float, spent: Totals) -> None:
        self._prices = prices
        self._told: Spent | None = None
        self.model = model
        """The model in use, in the agent's words; None: its default, which it did not name."""
        self.micro_usd = to_micro_usd(cost_usd)
        """Cost of the session's turns that have ended."""
        self.tokens = spent.usage.total_tokens
        """Their tokens."""

    def read(self, data: JsonObject) -> JsonObject:
        """The data of a `usage` event, its cost filled in where it lacks one and a price is known."""
        spent = self._priced(read_spent(data))
        self._told = spent
        if spent.cost_usd is None or spent.cost_source is None:
            return data
        return {**data, "cost_usd": spent.cost_usd, "cost_source": spent.cost_source.value}

    def settle(self, ending: Ending) -> Ending:
        """How a turn ends, with all that is known of its use; counted from now on."""
        told, self._told = self._told, None
        whole = ending.with_spent(told)
        spent = self._priced(Spent(whole.usage, whole.cost_usd, whole.cost_source))
        if spent.cost_usd is not None:
            self.micro_usd += to_micro_usd(spent.cost_usd)
        if spent.usage is not None:
            self.tokens += spent.usage.clipped().total_tokens
        return replace(whole, cost_usd=spent.cost_usd, cost_source=spent.cost_source, model=self.model)

    def forget(self) -> None:
        """The running turn goes on elsewhere."""
        self._told = None

    def _priced(self, spent: Spent) -> Spent:
        if spent.cost_usd is not None:
            return replace(spent, cost_source=spent.cost_source or CostSource.AGENT)
        usage = spent.usage
        cost = None if usage is None or usage == Usage() else self._prices.micro_usd(self.model, usage.clipped())
        if cost is None:
            return spent
        return Spent(usage, to_usd(cost), CostSource.PRICE_TABLE)
