"""A batch on the wire: what may be in it, and what came of it."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.schemas.fields import Request, Text, Variant, View, line, mapping, moment, shown, text, whole, words
from api.schemas.paging import PageQuery, list_of
from api.schemas.prompts import NOT_BLANK, SendPrompt
from api.schemas.sessions import CreateSession
from api.schemas.turns import MAX_PROMPT
from shared.domain.batch import (
    DEFAULT_CONCURRENCY,
    MAX_CONCURRENCY,
    MAX_ITEMS,
    Batch,
    BatchItem,
    BatchStatus,
    ItemKind,
    ItemStatus,
)


def _kind(kind: ItemKind) -> Text:
    return Text(required=True, validate=validate.Equal(kind.value), metadata={"description": f"`{kind.value}`"})


class PromptItem(SendPrompt):
    """Send a prompt to a session."""

    kind = _kind(ItemKind.PROMPT)
    session_id = line(
        "The session; where there is none this item fails with `not_found`.", max_length=80, required=True
    )


class SessionItem(CreateSession):
    """Start a session with its first prompt; the fields are those of `POST /v1/sessions`."""

    kind = _kind(ItemKind.SESSION)
    prompt = text("The first prompt.", max_length=MAX_PROMPT, required=True, validate=NOT_BLANK)


class TerminateItem(Request):
    """End a session; one that has ended already counts as done."""

    kind = _kind(ItemKind.TERMINATE)
    session_id = line(
        "The session; where there is none this item fails with `not_found`.", max_length=80, required=True
    )


class CreateBatch(Request):
    """Many things to do, a few at a time."""

    items = fields.List(
        Variant(PromptItem, SessionItem, TerminateItem),
        required=True,
        validate=validate.Length(1, MAX_ITEMS),
        metadata={"description": "Started in this order."},
    )
    concurrency = whole(
        "Items that may run at once.", at_least=1, at_most=MAX_CONCURRENCY, load_default=DEFAULT_CONCURRENCY
    )
    metadata = mapping("Your own texts by name.", max_keys=50, max_value=500, load_default=dict)


class BatchView(View):
    """One batch."""

    id = shown(fields.String, "`bat_…`")
    status = shown(
        fields.String,
        "`cancelled` as soon as somebody cancelled it; `ended_at` tells when its last turn was over.",
        validate=validate.OneOf([one.value for one in BatchStatus]),
    )
    concurrency = shown(fields.Integer, "Items that may run at once.")
    total = shown(fields.Integer, "All its items.")
    queued = shown(fields.Integer, "Items not begun.")
    running = shown(fields.Integer, "Items whose turn is not over.")
    succeeded = shown(fields.Integer, "Items whose turn completed, or whose session has ended as wished.")
    failed = shown(fields.Integer, "Items that could not be begun, or whose turn failed or was interrupted.")
    cancelled = shown(fields.Integer, "Items that were cancelled, with the batch or their turn alone.")
    metadata = shown(fields.Dict, "Your own texts by name.")
    created_at = moment("When it was accepted.")
    ended_at = moment("When nothing was left to be done.", maybe=True)


BatchPage = list_of(BatchView, "batches")


class ItemErrorView(View):
    """Why an item failed."""

    code = shown(
        fields.String,
        "`turn_failed`, `turn_interrupted`, or what the request alone would have been answered: `not_found`, …",
    )
    message = shown(fields.String, "The same for people.")


class BatchItemView(View):
    """One item of a batch, and what came of it."""

    index = shown(fields.Integer, "Its place in the request, from 0.")
    kind = shown(fields.String, "What it does.", validate=validate.OneOf([one.value for one in ItemKind]))
    status = shown(
        fields.String,
        "It runs until its turn is over, or the session it terminates has ended.",
        validate=validate.OneOf([one.value for one in ItemStatus]),
    )
    session_id = shown(fields.String, "The session; null while a new one is not made.", maybe=True)
    turn_id = shown(fields.String, "Its turn, once it was started.", maybe=True)
    result_text = shown(fields.String, "The agent's last word.", maybe=True)
    error = fields.Nested(
        ItemErrorView, required=True, allow_none=True, metadata={"description": "Null unless it failed."}
    )
    started_at = moment("When its prompt was accepted.", maybe=True)
    ended_at = moment("When it was seen to be over.", maybe=True)


BatchItemPage = list_of(BatchItemView, "items, by index")


class BatchesQuery(PageQuery):
    """Which batches, newest first."""

    status = words("Only batches in these states.", BatchStatus)


class ItemsQuery(PageQuery):
    """Which items of a batch, by index."""

    status = words("Only items in these states.", ItemStatus)


def fields_of(batch: Batch) -> dict[str, Any]:
    """One batch, as `BatchView` dumps it."""
    return {
        "id": batch.id,
        "status": batch.status.value,
        "concurrency": batch.concurrency,
        "total": batch.total,
        "queued": batch.counts.queued,
        "running": batch.counts.running,
        "succeeded": batch.counts.succeeded,
        "failed": batch.counts.failed,
        "cancelled": batch.counts.cancelled,
        "metadata": dict(batch.metadata),
        "created_at": batch.created_at,
        "ended_at": batch.ended_at,
    }


def item_fields(item: BatchItem) -> dict[str, Any]:
    """One item, as `BatchItemView` dumps it."""
    return {
        "index": item.index,
        "kind": item.kind.value,
        "status": item.status.value,
        "session_id": item.session,
        "turn_id": item.turn,
        "result_text": item.result_text,
        "error": item.error,
        "started_at": item.started_at,
        "ended_at": item.ended_at,
    }
