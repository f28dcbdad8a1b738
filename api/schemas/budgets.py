"""A tenant's budget on the wire."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.fields import Request, View, choice, moment, number, shown
from shared.domain.budget import OnBudget, Standing, resets_at
from shared.domain.usage import to_usd

_MOST_USD = 1_000_000


class PutBudget(Request):
    """What the tenant may spend on a UTC day."""

    day_usd = number(
        "US dollars a day; null: no bound.", at_least=0, above=True, at_most=_MOST_USD, allow_none=True, required=True
    )
    turn_usd = number(
        "What a turn is reckoned to cost from its begin until its cost is known; a twentieth of the day where absent. "
        "So many turns may be under way at once as fit into what is left.",
        at_least=0,
        above=True,
        at_most=_MOST_USD,
        load_default=None,
        allow_none=True,
    )
    on_budget = choice(
        "What becomes of a turn that would begin when the day's budget is spent: `stop` ends it failed, and prompts "
        "are refused; `ask` asks a human to lift the budget by a quarter of what it is.",
        OnBudget,
        load_default=OnBudget.STOP.value,
    )

    @ma.validates_schema
    def check_turn(self, data: dict[str, Any], **_: Any) -> None:
        """A turn is not reckoned to cost more than the day."""
        day, turn = data.get("day_usd"), data.get("turn_usd")
        if day is not None and turn is not None and turn > day:
            raise ma.ValidationError("Must not be greater than day_usd.", "turn_usd")


class BudgetView(View):
    """The tenant's budget and how it stands today."""

    day_usd = shown(fields.Float, "US dollars a UTC day; null: no bound.", maybe=True)
    turn_usd = shown(fields.Float, "What a turn is reckoned to cost until that is known.", maybe=True)
    on_budget = shown(
        fields.String,
        "What becomes of a turn that would begin when it is spent.",
        maybe=True,
        validate=validate.OneOf([one.value for one in OnBudget]),
    )
    day = shown(fields.String, "The UTC day of what follows.", maybe=True)
    spent_usd = shown(fields.Float, "Known cost of the turns that ended today.", maybe=True)
    reserved_usd = shown(fields.Float, "What turns under way are reckoned to cost.", maybe=True)
    lifted_usd = shown(fields.Float, "What humans added for today.", maybe=True)
    is_spent = shown(fields.Boolean, "Whether no turn may begin any more today.")
    resets_at = moment("When the day is over.", maybe=True)


def view(standing: Standing | None, at: Any) -> dict[str, Any]:
    """A budget, as `BudgetView` dumps it."""
    if standing is None:
        names = ("day_usd", "turn_usd", "on_budget", "day", "spent_usd", "reserved_usd", "lifted_usd", "resets_at")
        return {**dict.fromkeys(names), "is_spent": False}
    return {
        "day_usd": to_usd(standing.budget.day_micro_usd),
        "turn_usd": to_usd(standing.budget.turn_micro_usd),
        "on_budget": standing.budget.on_budget.value,
        "day": standing.day,
        "spent_usd": to_usd(standing.spent_micro_usd),
        "reserved_usd": to_usd(standing.reserved_micro_usd),
        "lifted_usd": to_usd(standing.lifted_micro_usd),
        "is_spent": standing.is_spent,
        "resets_at": resets_at(at),
    }
