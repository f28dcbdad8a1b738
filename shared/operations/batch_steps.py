"""Carries batches out, one small step after another, each a transaction under the lock of the batch's row.

Any process may die between two steps and any other go on: starting an item and marking it are one commit.
"""

from __future__ import annotations

import structlog

from shared.domain import clock
from shared.domain.batch import Batch, BatchStatus, ItemEnd, ItemError, ItemKind, ItemStatus
from shared.domain.errors import CorralError, TurnOver, Unavailable
from shared.domain.ids import BatchId, KeyId, SessionId, TurnId
from shared.domain.tenant import Caller, Scope
from shared.domain.turn import TurnStatus
from shared.operations import batch_wishes, prompts, sessions, turns
from shared.operations.batch_wishes import PromptWish, SessionWish, TerminateWish
from shared.operations.context import Context
from shared.operations.transaction import Act
from shared.store import batches
from shared.store.batches import OverItem, QueuedItem
from shared.store.database import is_away
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

_SUCCEEDED = ItemEnd(ItemStatus.SUCCEEDED)


class _StartFailed(Exception):
    """Leaves the transaction that would have started an item, and all of it undone."""

    def __init__(self, item: QueuedItem, error: ItemError) -> None:
        super().__init__(error.message)
        self.item = item
        self.error = error


def advance(context: Context, batch: BatchId) -> None:
    """Do all that can be done for a batch now: note what is over, start what may run, end what is done.

    Safe to call at any time from several processes: each step looks again under the batch's lock.

    Raises:
        DatabaseAway: every step before is whole; the next call goes on.
    """
    while _step(context, batch):
        pass
    stop_turns(context, batch)


def stop_turns(context: Context, batch: BatchId) -> None:
    """Cancel the turns that a cancelled batch has under way; each is asked once.

    Raises:
        DatabaseAway: the others are asked by the next call.
    """
    with context.db.read() as connection:
        waiting = batches.to_stop(connection, batch)
    for index, turn in waiting:
        if not _stop_turn(context, batch, index, turn):
            return


def _step(context: Context, batch: BatchId) -> bool:
    """One transaction; whether another may find something to do at once."""
    try:
        with context.db.write() as connection:
            found = batches.lock(connection, batch)
            if found is None or found.ended_at is not None:
                return False
            act = Act(context, _caller(found), connection, clock.now())
            going = _step_under_lock(act, found)
    except _StartFailed as failed:
        _fail(context, batch, failed)
        return True
    act.ring()
    return going


def _step_under_lock(act: Act, batch: Batch) -> bool:
    over = batches.over_items(act.connection, batch.id)
    for item in over:
        _end_item(act, batch.id, item.index, _end_of(item))
    running = batch.counts.running - len(over)
    if batch.status is BatchStatus.RUNNING and running < batch.concurrency and batch.counts.queued:
        return _start_next(act, batch)
    if not running and not batch.counts.queued:
        status = BatchStatus.COMPLETED if batch.status is BatchStatus.RUNNING else batch.status
        batches.end(act.connection, batch.id, status, act.at)
        log.info("batch.ended", batch=batch.id, status=status.value, total=batch.total)
    return False


def _start_next(act: Act, batch: Batch) -> bool:
    item = batches.next_queued(act.connection, batch.id)
    if item is None:
        return False
    try:
        _start(act, batch.id, item)
    except Unavailable:
        raise
    except CorralError as problem:
        raise _StartFailed(item, ItemError(problem.code, problem.message)) from problem
    except Exception as problem:
        if is_away(problem):
            raise
        # Whatever it is, it would come again: one item must not hold up the others for ever.
        log.exception("batch.item_broken", batch=batch.id, index=item.index)
        words = "Something went wrong here. It has been logged under this batch and index."
        raise _StartFailed(item, ItemError("internal_error", words)) from problem
    metrics.BATCH_ITEMS.labels(outcome="started").inc()
    return True


def _start(act: Act, batch: BatchId, item: QueuedItem) -> None:
    wish = batch_wishes.decode(item.kind, item.session, act.context.sealer.open(item.wish), batch)
    match wish:
        case PromptWish():
            turn = prompts.take(act, wish.session, wish.prompt)
            _mark(act, batch, item, wish.session, turn.id)
        case SessionWish():
            seen = sessions.make(act, wish.new.spec, wish.new).seen
            _mark(act, batch, item, seen.session.id, seen.turn.id if seen.turn else None)
        case TerminateWish():
            has_ended = sessions.stop(act, wish.session)
            _mark(act, batch, item, wish.session, None)
            if has_ended:
                _end_item(act, batch, item.index, _SUCCEEDED)


def _mark(act: Act, batch: BatchId, item: QueuedItem, session: SessionId, turn: TurnId | None) -> None:
    batches.start_item(act.connection, batch, item.index, act.at, session=session, turn=turn)


def _end_item(act: Act, batch: BatchId, index: int, end: ItemEnd) -> None:
    if batches.end_item(act.connection, batch, index, end, act.at):
        metrics.BATCH_ITEMS.labels(outcome=end.status.value).inc()


def _end_of(item: OverItem) -> ItemEnd:
    if item.kind is ItemKind.TERMINATE or item.turn_status is TurnStatus.COMPLETED:
        return _SUCCEEDED
    if item.turn_status is TurnStatus.CANCELLED:
        return ItemEnd(ItemStatus.CANCELLED)
    if item.turn_status is None:
        return ItemEnd(ItemStatus.FAILED, ItemError("not_found", "Its turn was removed before it was seen to end."))
    words = f"The turn ended {item.turn_status.value} ({item.stop_reason})."
    words = f"{words} {item.error}" if item.error else words
    return ItemEnd(ItemStatus.FAILED, ItemError(f"turn_{item.turn_status.value}", words))


def _fail(context: Context, batch: BatchId, failed: _StartFailed) -> None:
    # Had another worker started the item since, its mark stands: only a queued one fails here.
    with context.db.write() as connection:
        found = batches.lock(connection, batch)
        item = batches.next_queued(connection, batch)
        if found is None or item is None or item.index != failed.item.index:
            return
        act = Act(context, _caller(found), connection, clock.now())
        _end_item(act, batch, item.index, ItemEnd(ItemStatus.FAILED, failed.error))


def _stop_turn(context: Context, batch: BatchId, index: int, turn: TurnId) -> bool:
    """False: the batch was not cancelled."""
    with context.db.write() as connection:
        found = batches.lock(connection, batch)
        if found is None or found.status is not BatchStatus.CANCELLED:
            return False
        act = Act(context, _caller(found), connection, clock.now())
        if batches.mark_stopped(connection, batch, index):
            _stop(act, turn)
    act.ring()
    return True


def _stop(act: Act, turn: TurnId) -> None:
    try:
        turns.stop(act, turn)
    except TurnOver:
        # It was faster; the next step notes how it ended.
        return
    except CorralError as problem:
        log.info("batch.turn_not_stopped", turn=turn, problem=str(problem))


def _caller(batch: Batch) -> Caller:
    return Caller(batch.tenant, batch.key or KeyId(""), "batch", frozenset({Scope.WRITE}))
