"""Batches: accept, read, cancel. `batch_steps.py` carries them out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from shared.domain.batch import DEFAULT_CONCURRENCY, Batch, BatchItem, BatchStatus, Counts, ItemStatus
from shared.domain.errors import BatchOver, InvalidField, NotFound, Unavailable
from shared.domain.ids import BatchId, mint_batch
from shared.domain.tenant import Caller
from shared.operations import batch_steps, batch_wishes
from shared.operations.batch_wishes import SessionWish, Wish
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.store import batches
from shared.store.batches import NewItem
from shared.store.database import Connection
from shared.telemetry import metrics


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a caller wants done."""

    wishes: Sequence[Wish]
    concurrency: int = DEFAULT_CONCURRENCY
    metadata: Mapping[str, str] = field(default_factory=dict)


def create(context: Context, caller: Caller, new: NewBatch, *, once: Once[Batch] | None = None) -> Batch:
    """Accept a batch: from the commit on each item will be started once at most, and get its one end.

    Raises:
        InvalidField: an item cannot be as wished; names `items[i].field`. Nothing was made.
    """
    wishes = batch_wishes.checked(context, new.wishes)
    # Sealing a thousand takes a while; nobody need wait for it with SQLite's write lock taken.
    items = [_item(context, wish) for wish in wishes]

    def effect(act: Act) -> Batch:
        batch = Batch(
            id=mint_batch(),
            tenant=caller.tenant,
            key=caller.key,
            status=BatchStatus.RUNNING,
            concurrency=new.concurrency,
            total=len(items),
            metadata=new.metadata,
            created_at=act.at,
            ended_at=None,
            counts=Counts(queued=len(items)),
        )
        batches.create(act.connection, batch, items)
        return batch

    made = carry_out(context, caller, once, effect)
    context.bell.batch(made.id)
    return made


def get(context: Context, caller: Caller, batch: BatchId) -> Batch:
    """One batch.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        return _found(connection, caller, batch)


def page(
    context: Context,
    caller: Caller,
    *,
    status: Collection[BatchStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Batch], str | None]:
    """Batches of the tenant, newest first, and the cursor of the next page.

    Raises:
        InvalidField: the cursor is none of ours.
    """
    with context.db.read() as connection:
        return batches.page(connection, caller.tenant, status=status, cursor=cursor, limit=limit)


def items(
    context: Context,
    caller: Caller,
    batch: BatchId,
    *,
    status: Collection[ItemStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[BatchItem], str | None]:
    """Items of a batch by index, and the cursor of the next page.

    Raises:
        NotFound: missing, or another tenant's.
        InvalidField: the cursor is none of ours.
    """
    after = _after(cursor)
    with context.db.read() as connection:
        _found(connection, caller, batch)
        found = batches.items(connection, batch, after=after, status=status, limit=limit + 1)
    shown = found[:limit]
    return shown, str(shown[-1].index) if len(found) > limit else None


def cancel(context: Context, caller: Caller, batch: BatchId, *, once: Once[Batch] | None = None) -> Batch:
    """Cancel a batch: what is queued is over at once, turns under way are cancelled, sessions live on.

    Safe to repeat. The batch has ended when its last turn is over.

    Raises:
        NotFound: missing, or another tenant's.
        BatchOver: it has completed.
    """

    def effect(act: Act) -> Batch:
        _found(act.connection, caller, batch)
        locked = batches.lock(act.connection, batch)
        if locked is not None and locked.status is BatchStatus.COMPLETED:
            raise BatchOver(batch, locked.status)
        if locked is not None and locked.status is BatchStatus.RUNNING:
            count = batches.cancel(act.connection, batch, act.at)
            metrics.BATCH_ITEMS.labels(outcome=ItemStatus.CANCELLED.value).inc(count)
            if not locked.counts.running:
                batches.end(act.connection, batch, BatchStatus.CANCELLED, act.at)
        return _found(act.connection, caller, batch)

    cancelled = carry_out(context, caller, once, effect)
    # Each turn in a transaction of its own. Where this fails or dies a worker goes on: it is cancelled already.
    with suppress(Unavailable):
        batch_steps.stop_turns(context, batch)
        batch_steps.advance(context, batch)
    return cancelled


def _item(context: Context, wish: Wish) -> NewItem:
    session = None if isinstance(wish, SessionWish) else wish.session
    return NewItem(batch_wishes.kind_of(wish), session, context.sealer.seal(batch_wishes.encode(wish)))


def _found(connection: Connection, caller: Caller, batch: BatchId) -> Batch:
    found = batches.get(connection, caller.tenant, batch)
    if found is None:
        raise NotFound("batch", batch)
    return found


def _after(cursor: str | None) -> int:
    if cursor is None:
        return -1
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 6):
        raise InvalidField("cursor", "is not a cursor of this list; take next_cursor of the page before.")
    return int(cursor)
