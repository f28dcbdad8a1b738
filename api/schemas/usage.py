"""Usage on the wire: tokens, cost and time summed up."""

from __future__ import annotations

import datetime as dt
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.fields import Text, View, choice, line, shown
from api.schemas.paging import PageQuery
from shared.domain.usage import Totals, to_usd
from shared.store.usage import Grouping


class CostBySource(View):
    """Who says what of the cost."""

    agent = shown(fields.Float, "What agents told.", maybe=True)
    price_table = shown(fields.Float, "What the operator's prices gave for tokens that agents told.", maybe=True)


class UsageTotals(View):
    """What turns that have ended used, sums."""

    turns = shown(fields.Integer, "Turns that reached an agent and ended.")
    input_tokens = shown(fields.Integer, "Tokens read, without cached ones.")
    output_tokens = shown(fields.Integer, "Tokens written.")
    cache_read_tokens = shown(fields.Integer, "Tokens read from the cache.")
    cache_write_tokens = shown(fields.Integer, "Tokens put into the cache.")
    total_tokens = shown(fields.Integer, "All of these.")
    cost_usd = shown(fields.Float, "The known cost; null where no turn's cost is known.", maybe=True)
    cost_by_source = fields.Nested(
        CostBySource, required=True, metadata={"description": "The same, by who says so; null: nobody."}
    )
    unpriced_turns = shown(fields.Integer, "Turns that used tokens at a cost nobody knows: they lack in `cost_usd`.")
    turn_s = shown(fields.Float, "Seconds the turns took, without the time a human was waited for.")
    waiting_s = shown(fields.Float, "Seconds in which they waited for a human.")


class UsageGroup(UsageTotals):
    """What the turns of one group used."""

    group = shown(
        fields.String, "The day, or the session's, key's, agent's or model's name; null: unknown.", maybe=True
    )


class UsagePage(View):
    """Usage in groups."""

    data = fields.List(
        fields.Nested(UsageGroup),
        required=True,
        metadata={"description": "Groups by name, the last first: days newest first."},
    )
    next_cursor = shown(fields.String, "Pass as `cursor` for the next page; null: nothing follows.", maybe=True)
    totals = fields.Nested(
        UsageTotals, required=True, metadata={"description": "Everything that was asked for, all pages together."}
    )


class Day(Text):
    """A UTC day, as 2026-01-31."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            is_day = len(text) == len("2026-01-31") and dt.date.fromisoformat(text).isoformat() == text
        except ValueError:
            is_day = False
        if not is_day:
            raise ma.ValidationError("Not a valid day; write it as 2026-01-31.")
        return text


class UsageQuery(PageQuery):
    """Which turns count, and how they are summed up."""

    group_by = choice("What to sum up by.", Grouping, load_default=Grouping.DAY.value)
    first_day = Day(
        data_key="from", load_default=None, metadata={"description": "Turns that ended on this UTC day or later."}
    )
    last_day = Day(
        data_key="to", load_default=None, metadata={"description": "Turns that ended on this UTC day or earlier."}
    )
    session_id = Text(
        load_default=None, validate=validate.Length(1, 80), metadata={"description": "Only this session's turns."}
    )
    agent = line("Only turns of this agent.", max_length=64, load_default=None)
    cursor = Text(
        load_default=None,
        # It holds the name of a model, in whatever script.
        validate=validate.Length(1, 1500),
        metadata={"description": "`next_cursor` of the page before."},
    )

    @ma.validates_schema
    def check_order(self, data: dict[str, Any], **_: Any) -> None:
        """The first day is not behind the last."""
        first, last = data.get("first_day"), data.get("last_day")
        if first is not None and last is not None and first > last:
            raise ma.ValidationError("Must not be after `to`.", "from")


def totals_of(totals: Totals) -> dict[str, Any]:
    """Sums, as `UsageTotals` dumps them."""
    usage = totals.usage
    return {
        "turns": totals.turns,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "total_tokens": usage.total_tokens,
        "cost_usd": _usd(totals.micro_usd),
        "cost_by_source": {"agent": _usd(totals.agent_micro_usd), "price_table": _usd(totals.table_micro_usd)},
        "unpriced_turns": totals.unpriced_turns,
        "turn_s": totals.turn_ms / 1000,
        "waiting_s": totals.waited_ms / 1000,
    }


def _usd(micro_usd: int | None) -> float | None:
    return None if micro_usd is None else to_usd(micro_usd)
