"""Batches: what is due, one start per item, one end per item, and nobody else's."""

from __future__ import annotations

import pytest

from shared.domain.batch import Batch, BatchStatus, Counts, ItemEnd, ItemError, ItemKind, ItemStatus
from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId, TurnId, mint_batch
from shared.domain.turn import Ending, TurnStatus
from shared.store import batches, heads, turns
from shared.store.batches import NewItem
from tests.fixtures.store_rows import ACME, OTHER, T0, add_session, add_turn, after, at_once

DONE = Ending(TurnStatus.COMPLETED, "end_turn", result_text="ok")
SUCCEEDED = ItemEnd(ItemStatus.SUCCEEDED)


def add_batch(c, *kinds, concurrency=2, tenant=ACME, session=None, at=T0):
    kinds = kinds or (ItemKind.PROMPT,) * 3
    batch = Batch(
        mint_batch(), tenant, None, BatchStatus.RUNNING, concurrency, len(kinds), {"a": "b"}, at, None,
        Counts(queued=len(kinds)),
    )  # fmt: skip
    batches.create(c, batch, [NewItem(kind, session, f"wish {n}") for n, kind in enumerate(kinds)])
    return batch


def begin(c, batch, index, session):
    """Start an item with a turn."""
    turn = add_turn(c, session)
    assert batches.start_item(c, batch.id, index, T0, session=session, turn=turn.id)
    return turn.id


def test_a_batch_comes_back_as_it_was_made_to_its_tenant_only(db):
    with db.write() as c:
        batch = add_batch(c)

        assert batches.get(c, ACME, batch.id) == batch
        assert batches.lock(c, batch.id) == batch
        assert batches.get(c, OTHER, batch.id) is None
        assert batches.page(c, ACME) == ([batch], None)
        assert batches.page(c, OTHER) == ([], None)


def test_batches_are_paged_newest_first_each_with_its_own_counts(db):
    with db.write() as c:
        old, new = add_batch(c), add_batch(c, ItemKind.SESSION, at=after(1))
        batches.end_item(c, old.id, 0, SUCCEEDED, T0)

        first, cursor = batches.page(c, ACME, limit=1)
        second, end = batches.page(c, ACME, limit=1, cursor=cursor)

        assert [one.id for one in first + second] == [new.id, old.id]
        assert second[0].counts == Counts(queued=2, succeeded=1)
        assert end is None
        assert batches.page(c, ACME, status=[BatchStatus.COMPLETED]) == ([], None)
        with pytest.raises(InvalidField):
            batches.page(c, ACME, cursor="nonsense")


def test_items_start_in_order_and_each_once(db):
    with db.write() as c:
        session, batch = add_session(c), add_batch(c)

        assert batches.next_queued(c, batch.id).wish == "wish 0"
        begin(c, batch, 0, session)

        assert not batches.start_item(c, batch.id, 0, T0, session=session, turn=TurnId("trn_2"))
        assert batches.next_queued(c, batch.id).index == 1
        assert batches.get(c, ACME, batch.id).counts == Counts(queued=2, running=1)


def test_of_many_that_start_an_item_at_once_one_does(db):
    with db.write() as c:
        batch = add_batch(c)

    started = at_once(
        db, 8, lambda c: batches.start_item(c, batch.id, 0, T0, session=SessionId("ses_1"), turn=TurnId("trn_1"))
    )

    assert sorted(started) == [False] * 7 + [True]


def test_an_item_keeps_its_first_end(db):
    failed = ItemEnd(ItemStatus.FAILED, ItemError("not_found", "gone \x00"))
    with db.write() as c:
        batch = add_batch(c)

        assert batches.end_item(c, batch.id, 0, failed, after(1))
        assert not batches.end_item(c, batch.id, 0, SUCCEEDED, after(2))

        (item,) = batches.items(c, batch.id, status=[ItemStatus.FAILED])
        assert (item.error, item.ended_at) == (ItemError("not_found", "gone \\u0000"), after(1))


def test_items_are_listed_by_index_with_the_results_of_their_turns(db):
    with db.write() as c:
        session, batch = add_session(c), add_batch(c)
        turn = begin(c, batch, 1, session)
        turns.end(c, turn, DONE, T0)

        assert [item.index for item in batches.items(c, batch.id, limit=2)] == [0, 1]
        (_, item, _) = batches.items(c, batch.id)
        assert (item.session, item.turn, item.result_text) == (session, turn, "ok")
        assert [item.index for item in batches.items(c, batch.id, after=1)] == [2]


def test_a_batch_is_due_while_it_may_start_more_and_when_a_turn_is_over(db):
    with db.write() as c:
        session, batch = add_session(c), add_batch(c)
        assert batches.due(c, 10) == [batch.id]

        turn = begin(c, batch, 0, session)
        begin(c, batch, 1, session)
        assert batches.due(c, 10) == []

        turns.end(c, turn, DONE, T0)
        assert batches.due(c, 10) == [batch.id]
        (over,) = batches.over_items(c, batch.id)
        assert (over.index, over.turn_status, over.stop_reason) == (0, TurnStatus.COMPLETED, "end_turn")


def test_a_batch_without_open_items_is_due_until_it_has_ended(db):
    with db.write() as c:
        batch = add_batch(c, ItemKind.PROMPT)
        batches.end_item(c, batch.id, 0, SUCCEEDED, T0)
        assert batches.due(c, 10) == [batch.id]

        batches.end(c, batch.id, BatchStatus.COMPLETED, after(1))

        assert batches.due(c, 10) == []
        assert batches.get(c, ACME, batch.id).ended_at == after(1)


def test_a_termination_is_over_when_its_session_has_ended(db):
    with db.write() as c:
        session, batch = add_session(c), add_batch(c, ItemKind.TERMINATE)
        batches.start_item(c, batch.id, 0, T0, session=session, turn=None)
        assert batches.over_items(c, batch.id) == []

        heads.end(c, session, "terminated", None, T0)

        assert [over.index for over in batches.over_items(c, batch.id)] == [0]


def test_an_item_whose_turn_is_gone_is_over(db):
    with db.write() as c:
        batch = add_batch(c, ItemKind.PROMPT)
        batches.start_item(c, batch.id, 0, T0, session=SessionId("ses_gone"), turn=TurnId("trn_gone"))

        (over,) = batches.over_items(c, batch.id)

        assert over.turn_status is None


def test_a_cancelled_batch_is_due_until_each_of_its_turns_was_asked_to_stop(db):
    with db.write() as c:
        session, batch = add_session(c), add_batch(c)
        turn = begin(c, batch, 0, session)

        assert batches.cancel(c, batch.id, T0) == 2

        assert batches.get(c, ACME, batch.id).counts == Counts(running=1, cancelled=2)
        assert batches.due(c, 10) == [batch.id]
        assert batches.to_stop(c, batch.id) == [(0, turn)]
        assert batches.mark_stopped(c, batch.id, 0)
        assert not batches.mark_stopped(c, batch.id, 0)
        assert batches.due(c, 10) == []
