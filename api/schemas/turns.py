"""A turn on the wire, and what may be changed of a queued one."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.schemas.fields import Request, View, moment, shown, text, whole, words
from api.schemas.paging import PageQuery, list_of
from shared.domain.turn import Turn, TurnStatus
from shared.domain.usage import CostSource

MAX_PROMPT = 512 * 1024
"""Characters of one prompt."""


class UsageView(View):
    """Tokens of one turn."""

    input_tokens = shown(fields.Integer, "Tokens read, without cached ones.")
    output_tokens = shown(fields.Integer, "Tokens written.")
    cache_read_tokens = shown(fields.Integer, "Tokens read from the cache.")
    cache_write_tokens = shown(fields.Integer, "Tokens put into the cache.")


class TurnView(View):
    """One accepted prompt and what became of it."""

    id = shown(fields.String, "`trn_…`")
    session_id = shown(fields.String, "Its session.")
    status = shown(
        fields.String,
        "Where it is. `completed`, `failed`, `cancelled` and `interrupted` are final.",
        validate=validate.OneOf([one.value for one in TurnStatus]),
    )
    text = shown(fields.String, "The prompt, or the command as one would type it.")
    command = shown(fields.String, "Name of the slash command it is; null: a prompt.", maybe=True)
    source = shown(fields.String, "Where the prompt came from.")
    confirm = shown(fields.Boolean, "Whether it stops at a checkpoint before it runs.")
    queue_position = shown(
        fields.Integer, "Prompts that come before it in the session; 0: it is next. Null once it runs.", maybe=True
    )
    attempt = shown(fields.Integer, "Counts from 1; more only with `on_worker_loss: continue`.")
    callback_url = shown(fields.String, "Gets the finished turn once.", maybe=True)
    created_at = moment("When it was accepted.")
    started_at = moment("When it was on its way to the agent.", maybe=True)
    ended_at = moment("When it was over.", maybe=True)
    stop_reason = shown(fields.String, "Why it ended: `end_turn`, `cancelled`, `steered`, `turn_limit`, …", maybe=True)
    result_text = shown(fields.String, "The agent's last word.", maybe=True)
    error = shown(fields.String, "What failed, for people.", maybe=True)
    usage = fields.Nested(
        UsageView, required=True, allow_none=True, metadata={"description": "Tokens, where the agent tells."}
    )
    cost_usd = shown(fields.Float, "Cost of this turn alone, where it is known.", maybe=True)
    cost_source = shown(
        fields.String,
        "Who says so: `agent`, or `price_table` (the operator's prices).",
        maybe=True,
        validate=validate.OneOf([one.value for one in CostSource]),
    )


TurnPage = list_of(TurnView, "turns")


class TurnsQuery(PageQuery):
    """Which turns of a session, newest first."""

    status = words("Only turns in these states.", TurnStatus)


class EditTurn(Request):
    """A change of a queued turn; at least one field."""

    text = text("The new prompt.", max_length=MAX_PROMPT)
    queue_position = whole("The place in the line to move it to; 0: next.", at_least=0, at_most=10_000)


def fields_of(turn: Turn, queue_position: int | None) -> dict[str, Any]:
    """One turn, as `TurnView` dumps it."""
    return {
        "id": turn.id,
        "session_id": turn.session,
        "status": turn.status.value,
        "text": turn.text,
        "command": turn.command,
        "source": turn.source,
        "confirm": turn.confirm,
        "queue_position": queue_position,
        "attempt": turn.attempt,
        "callback_url": turn.callback_url,
        "created_at": turn.created_at,
        "started_at": turn.started_at,
        "ended_at": turn.ended_at,
        "stop_reason": turn.stop_reason,
        "result_text": turn.result_text,
        "error": turn.error,
        "usage": turn.usage,
        "cost_usd": turn.cost_usd,
        "cost_source": turn.cost_source,
    }
