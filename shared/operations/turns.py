"""Turns: read them, change or withdraw a queued one, cancel a running one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shared.domain.errors import NotFound, NothingRunning, TurnOver, Unsupported
from shared.domain.event import Draft, EventType
from shared.domain.ids import SessionId, TurnId
from shared.domain.input import InputKind, Wish
from shared.domain.tenant import Caller
from shared.domain.turn import Ending, Turn, TurnStatus, split_checkpoint
from shared.operations.context import Context
from shared.operations.prompts import Placed, place_of
from shared.operations.transaction import Act, Once, carry_out
from shared.store import heads, turns
from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class TurnEdit:
    """A change of a queued turn; None stays. `place` counts from 0, the next to run."""

    text: str | None = None
    place: int | None = None


def get(context: Context, caller: Caller, turn: TurnId) -> Placed:
    """One turn.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        found = _found(connection, caller, turn)
        return Placed(found, place_of(connection, found))


def page(
    context: Context,
    caller: Caller,
    session: SessionId,
    *,
    status: Collection[TurnStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Placed], str | None]:
    """Turns of a session, newest first, and the cursor of the next page.

    Raises:
        NotFound: the session is missing, or another tenant's.
        InvalidField: the cursor is none of ours.
    """
    with context.db.read() as connection:
        head = heads.get(connection, session)
        if head is None or head.tenant != caller.tenant:
            raise NotFound("session", session)
        found, onward = turns.page(connection, caller.tenant, session, status=status, cursor=cursor, limit=limit)
        return [Placed(turn, place_of(connection, turn)) for turn in found], onward


def edit(context: Context, caller: Caller, turn: TurnId, wish: TurnEdit) -> Placed:
    """Change the text of a queued turn, or move it in the line.

    Raises:
        NotFound: missing, or another tenant's.
        TurnOver: it runs already, or has ended.
        Unsupported: the text of a command stays.
        InvalidField: nothing comes behind `confirm:`.
    """

    def effect(act: Act) -> Placed:
        found = _lock(act, turn)
        if found.status is not TurnStatus.QUEUED:
            raise TurnOver(turn, found.status)
        if wish.text is not None and found.command is not None:
            raise Unsupported("A command is not edited; withdraw it and send another.", command=found.command)
        if wish.text is not None:
            text, confirm = split_checkpoint(wish.text)
            turns.edit_queued(act.connection, turn, text=text, confirm=confirm or found.confirm)
        if wish.place is not None:
            position = turns.position_at(act.connection, found.session, wish.place, moving=turn)
            turns.edit_queued(act.connection, turn, position=position)
        changed = _found(act.connection, caller, turn)
        return Placed(changed, place_of(act.connection, changed))

    return carry_out(context, caller, None, effect)


def cancel(context: Context, caller: Caller, turn: TurnId, *, once: Once[Placed] | None = None) -> Placed:
    """Withdraw a queued turn at once, or ask the host to interrupt a running one; the session lives on.

    Raises:
        NotFound: missing, or another tenant's.
        TurnOver: it has ended.
        ExternalSession: it runs in an agent that Corral does not host.
    """
    return carry_out(context, caller, once, lambda act: stop(act, turn))


def stop(act: Act, turn: TurnId) -> Placed:
    """What `cancel` does, inside the caller's transaction."""
    return _cancel(act, _lock(act, turn))


def cancel_running(context: Context, caller: Caller, session: SessionId, *, once: Once[Placed] | None = None) -> Placed:
    """Ask the host to interrupt whatever turn runs now. A later turn is never hit.

    Raises:
        NotFound: missing, or another tenant's.
        SessionEnded: nothing runs in an ended session.
        NothingRunning: no turn runs.
    """

    def effect(act: Act) -> Placed:
        act.lock_living(session)
        line = turns.open_line(act.connection, session)
        running = [turn for turn, status in line if status is not TurnStatus.QUEUED]
        if not running:
            raise NothingRunning(session)
        return _cancel(act, _found(act.connection, caller, running[0]))

    return carry_out(context, caller, once, effect)


def _cancel(act: Act, found: Turn) -> Placed:
    if found.status.is_over:
        raise TurnOver(found.id, found.status)
    if found.status is TurnStatus.QUEUED:
        ending = Ending(TurnStatus.CANCELLED, "cancelled")
        act.tell(found.session, [Draft(EventType.TURN_ENDED, ending.data(), found.id)])
        turns.end(act.connection, found.id, ending, act.at)
    else:
        act.ask(act.lock_living(found.session), Wish(found.session, InputKind.CANCEL, turn=found.id))
    return Placed(_found(act.connection, act.caller, found.id), None)


def _found(connection: Connection, caller: Caller, turn: TurnId) -> Turn:
    found = turns.get(connection, caller.tenant, turn)
    if found is None:
        raise NotFound("turn", turn)
    return found


def _lock(act: Act, turn: TurnId) -> Turn:
    # The row tells which head to lock; what is decided comes from the row as it is under the lock.
    act.lock(_found(act.connection, act.caller, turn).session)
    return _found(act.connection, act.caller, turn)
