"""The agent's to-do list as `plan_update` events: the protocol's `plan` and whatever agents have beside it."""

from __future__ import annotations

from collections.abc import Sequence

from shared.agents import jsonlines
from shared.agents.driver import Emit
from shared.domain.event import EventType
from shared.domain.json import JsonObject, JsonValue

MAX_ITEMS = 500
_STATES = frozenset({"pending", "in_progress", "completed"})


def plan_update(entries: Sequence[JsonObject]) -> Emit:
    """The whole list; entries are `{content, status}`."""
    items: list[JsonValue] = [_item(entry) for entry in entries[:MAX_ITEMS]]
    return Emit(EventType.PLAN_UPDATE, {"items": items})


def _item(entry: JsonObject) -> JsonObject:
    status = jsonlines.text(entry, "status")
    return {"text": jsonlines.text(entry, "content"), "status": status if status in _STATES else "pending"}
