"""Batches: many prompts, new sessions or terminations in one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.paging import page
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.batches import (
    BatchesQuery,
    BatchItemPage,
    BatchPage,
    BatchView,
    CreateBatch,
    ItemsQuery,
    fields_of,
    item_fields,
)
from api.schemas.session_wish import wish_of as session_wish_of
from shared.domain.batch import Batch, BatchStatus, ItemKind, ItemStatus
from shared.domain.ids import BatchId, SessionId
from shared.domain.tenant import Scope
from shared.domain.turn import WhenBusy
from shared.operations import batches
from shared.operations.batch_wishes import PromptWish, SessionWish, TerminateWish, Wish
from shared.operations.batches import NewBatch
from shared.operations.prompts import Prompt

routes = Routes("batches", "Up to a thousand things to do, a few at a time.")


def _accepted(batch: Batch) -> Reply:
    return tell(BatchView, fields_of(batch), 201, Location=f"/v1/batches/{batch.id}")


def _shown(batch: Batch) -> Reply:
    return tell(BatchView, fields_of(batch))


@routes.add(
    Route(
        "POST",
        "/v1/batches",
        replies={201: Shown(BatchView, "The batch; its first items start at once.")},
        scope=Scope.WRITE,
        body=CreateBatch,
        problems={422: "`invalid_field`: an item cannot be as wished; `errors` names `items[i].field`"},
    )
)
def create_batch(call: Call) -> Reply:
    """Send prompts, start sessions and terminate sessions, `concurrency` of them at a time.

    All items are checked before anything is stored. A session that does not exist, has ended or is busy fails its own
    item later, and no other.
    """
    body = call.body
    new = NewBatch([_wish(item) for item in body["items"]], body["concurrency"], body["metadata"])
    return _accepted(batches.create(call.context, call.caller, new, once=call.once(_accepted)))


@routes.add(
    Route(
        "GET",
        "/v1/batches",
        replies={200: Shown(BatchPage, "Batches, newest first.")},
        scope=Scope.READ,
        query=BatchesQuery,
    )
)
def list_batches(call: Call) -> Reply:
    """Batches of the tenant, newest first."""
    found, onward = batches.page(
        call.context,
        call.caller,
        status=[BatchStatus(word) for word in call.query["status"]],
        cursor=call.query["cursor"],
        limit=call.query["limit"],
    )
    return tell(BatchPage, page([fields_of(batch) for batch in found], onward))


@routes.add(
    Route("GET", "/v1/batches/<batch_id>", replies={200: Shown(BatchView, "The batch.")}, scope=Scope.READ),
)
def get_batch(call: Call) -> Reply:
    """One batch with its counts."""
    return _shown(batches.get(call.context, call.caller, _id(call)))


@routes.add(
    Route(
        "GET",
        "/v1/batches/<batch_id>/items",
        replies={200: Shown(BatchItemPage, "Items by index.")},
        scope=Scope.READ,
        query=ItemsQuery,
    )
)
def list_batch_items(call: Call) -> Reply:
    """Items of a batch with their results, by index."""
    found, onward = batches.items(
        call.context,
        call.caller,
        _id(call),
        status=[ItemStatus(word) for word in call.query["status"]],
        cursor=call.query["cursor"],
        limit=call.query["limit"],
    )
    return tell(BatchItemPage, page([item_fields(item) for item in found], onward))


@routes.add(
    Route(
        "POST",
        "/v1/batches/<batch_id>/cancel",
        replies={200: Shown(BatchView, "The batch; turns under way end soon.")},
        scope=Scope.WRITE,
        problems={409: "`batch_over`: it has completed"},
    )
)
def cancel_batch(call: Call) -> Reply:
    """Cancel a batch: queued items are over at once, running turns are cancelled, sessions live on. Safe to repeat."""
    return _shown(batches.cancel(call.context, call.caller, _id(call), once=call.once(_shown)))


def _id(call: Call) -> BatchId:
    return call.id("batch_id", "bat", BatchId)


def _wish(item: Mapping[str, Any]) -> Wish:
    match ItemKind(item["kind"]):
        case ItemKind.SESSION:
            return SessionWish(session_wish_of(item))
        case ItemKind.PROMPT:
            prompt = Prompt(item["text"], WhenBusy(item["when_busy"]), item["callback_url"], item["source"])
            return PromptWish(SessionId(item["session_id"]), prompt)
        case ItemKind.TERMINATE:
            return TerminateWish(SessionId(item["session_id"]))
