"""Budgets: what a tenant may spend on a UTC day, what a session may spend, and when a turn may begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from shared.domain.json import JsonObject
from shared.domain.usage import to_usd

WARN_PERCENT: Final = 80
"""Of a budget: once that much is spent, it is said once."""
TURNS_OF_A_DAY: Final = 20
"""A turn is reckoned to cost this part of the day's budget where nobody says otherwise."""
LIFTS_OF_A_LIMIT: Final = 4
"""Who lets an agent go on beyond a budget lifts it by this part of what it was."""


class OnBudget(StrEnum):
    """What becomes of a turn that would begin when the budget is spent."""

    STOP = "stop"
    ASK = "ask"


class Scope(StrEnum):
    """Whose budget it is."""

    SESSION = "session"
    TENANT_DAY = "tenant_day"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a tenant may spend a day, in millionths of a dollar."""

    day_micro_usd: int
    turn_micro_usd: int
    """What a turn is reckoned to cost from its begin until its cost is known."""
    on_budget: OnBudget


@dataclass(frozen=True, slots=True)
class Standing:
    """A tenant's budget on one day. `reserved` is what turns under way are reckoned to cost."""

    budget: Budget
    day: str
    spent_micro_usd: int
    reserved_micro_usd: int
    lifted_micro_usd: int

    @property
    def limit_micro_usd(self) -> int:
        """What may be spent that day."""
        return self.budget.day_micro_usd + self.lifted_micro_usd

    @property
    def is_spent(self) -> bool:
        """Whether no turn may begin any more that day."""
        return self.spent_micro_usd >= self.limit_micro_usd

    @property
    def has_room(self) -> bool:
        """Whether another turn may begin now. If none costs more than reckoned, the last one alone can exceed it."""
        return self.spent_micro_usd + self.reserved_micro_usd < self.limit_micro_usd

    @property
    def is_nearly_spent(self) -> bool:
        """Whether it is time to warn."""
        return is_nearly(self.spent_micro_usd, self.limit_micro_usd)


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A budget that is spent: whose, how far, and by how much who lets the agent go on lifts it.

    `unit` is `usd` (amounts are millionths) or `tokens`.
    """

    scope: Scope
    unit: str
    spent: int
    limit: int
    on_budget: OnBudget

    @property
    def lift(self) -> int:
        """By how much it is lifted; 1 at least."""
        return max(1, self.limit // LIFTS_OF_A_LIMIT)

    def shown(self) -> JsonObject:
        """The amounts by name, for events and asks."""
        return {
            "scope": self.scope.value,
            f"spent_{self.unit}": self._amount(self.spent),
            f"limit_{self.unit}": self._amount(self.limit),
        }

    def lift_shown(self) -> JsonObject:
        """The lift by name."""
        return {f"lift_{self.unit}": self._amount(self.lift)}

    def words(self) -> str:
        """The same for people."""
        whose = "The session's budget" if self.scope is Scope.SESSION else "The tenant's budget of the day"
        return f"{whose} is spent: {self._amount(self.spent)} of {self._amount(self.limit)} {self._unit_words}."

    def question(self) -> str:
        """What a human is asked."""
        return f"{self.words()} Go on beyond it, by {self._amount(self.lift)} {self._unit_words}?"

    @property
    def _unit_words(self) -> str:
        return "USD" if self.unit == "usd" else "tokens"

    def _amount(self, amount: int) -> float | int:
        return to_usd(amount) if self.unit == "usd" else amount


def is_nearly(spent: int, limit: int) -> bool:
    """Whether so much is spent that it is time to warn."""
    return spent * 100 >= limit * WARN_PERCENT


def resets_at(at: datetime) -> datetime:
    """When the UTC day of `at` is over, and with it what was spent on it."""
    return datetime.combine(at.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
