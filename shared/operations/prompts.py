"""Prompts: may this session take one, and what becomes of it when the session is busy."""

from __future__ import annotations

from dataclasses import dataclass

from shared.agents.driver import Abilities
from shared.domain.errors import InvalidField, NotFound, QueueFull, SessionBusy, Unsupported
from shared.domain.event import Draft, EventType
from shared.domain.ids import BatchId, SessionId, mint_turn
from shared.domain.input import InputKind, Wish
from shared.domain.json import JsonObject
from shared.domain.tenant import Caller
from shared.domain.turn import Turn, TurnStatus, WhenBusy, split_checkpoint
from shared.operations import budgets, callbacks
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.operations.webhook_targets import check_url
from shared.store import sessions, turns
from shared.store.database import Connection
from shared.store.heads import Head


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a caller sends."""

    text: str
    when_busy: WhenBusy = WhenBusy.QUEUE
    callback_url: str | None = None
    source: str = "api"
    batch: BatchId | None = None
    """The batch it is an item of; told in `turn_queued`."""
    confirm: bool = False
    """Stop at a checkpoint before it runs; a text that begins with `confirm:` does so too."""
    command: str | None = None
    """Name of the slash command it is; `text` is then the command as one would type it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A turn and its place in the line; None: it no longer waits."""

    turn: Turn
    queue_position: int | None


def send(
    context: Context, caller: Caller, session: SessionId, prompt: Prompt, *, once: Once[Placed] | None = None
) -> Placed:
    """Accept a prompt: from the commit on it will have exactly one terminal event, whatever happens.

    Raises:
        NotFound: missing, or another tenant's.
        SessionEnded: it takes no more prompts.
        SessionBusy: `reject` met a turn in the way.
        QueueFull: too many prompts wait already.
        BudgetExhausted: the tenant may not spend any more today.
        Unsupported: `steer`, which the agent cannot.
        InvalidField: `callback_url` may not be reached, or nothing comes behind `confirm:`.
    """
    if prompt.callback_url is not None:
        check_url(context.webhook_rules, prompt.callback_url, "callback_url")

    def effect(act: Act) -> Placed:
        turn = take(act, session, prompt)
        return Placed(turn, turns.queue_position(act.connection, turn))

    return carry_out(context, caller, once, effect)


def take(act: Act, session: SessionId, prompt: Prompt) -> Turn:
    """What `send` does, inside the caller's transaction; `callback_url` was checked before."""
    head = act.lock_living(session)
    _make_room(act, head, prompt)
    return queue_turn(act, head, session, prompt)


def queue_turn(act: Act, head: Head | None, session: SessionId, prompt: Prompt) -> Turn:
    """Put one more turn into the session's line, with its input and event. Under the head's lock.

    Raises:
        BudgetExhausted: the tenant may not spend any more today.
    """
    budgets.check(act)
    text, has_prefix = split_checkpoint(prompt.text)
    confirm = prompt.confirm or has_prefix
    steers = prompt.when_busy is WhenBusy.STEER
    jumps = steers or prompt.when_busy is WhenBusy.INTERRUPT
    place = turns.front_position if jumps else turns.next_position
    turn = Turn(
        id=mint_turn(),
        session=session,
        position=place(act.connection, session),
        status=TurnStatus.QUEUED,
        text=text,
        source=prompt.source,
        callback_url=prompt.callback_url,
        attempt=1,
        created_at=act.at,
        started_at=None,
        ended_at=None,
        stop_reason=None,
        result_text=None,
        error=None,
        usage=None,
        cost_usd=None,
        confirm=confirm,
        command=prompt.command,
    )
    data: JsonObject = {"text": text, "source": prompt.source}
    if confirm:
        data["confirm"] = True
    if prompt.batch is not None:
        data["batch_id"] = prompt.batch
    if prompt.command is not None:
        data["command"] = prompt.command
    act.tell(session, [Draft(EventType.TURN_QUEUED, data, turn.id)])
    turns.create(act.connection, turn, act.caller.tenant)
    if prompt.callback_url is not None:
        callbacks.make_callback(act, turn, prompt.callback_url)
    # Where nothing runs by the time a host reads it, a steer is found in the line like any prompt.
    act.ask(head, Wish(session, InputKind.STEER if steers else InputKind.PROMPT, turn=turn.id))
    return turn


def place_of(connection: Connection, turn: Turn | None) -> int | None:
    """Where a turn waits in its session's line; None where it does not wait."""
    if turn is None or turn.status is not TurnStatus.QUEUED:
        return None
    return turns.queue_position(connection, turn)


def _make_room(act: Act, head: Head, prompt: Prompt) -> None:
    if prompt.when_busy is WhenBusy.STEER and (prompt.confirm or split_checkpoint(prompt.text)[1]):
        raise InvalidField("when_busy", "cannot be steer for a prompt that waits at a checkpoint")
    if prompt.when_busy is WhenBusy.STEER:
        _check_steer(act, head)
    line = turns.open_line(act.connection, head.session)
    if line and prompt.when_busy is WhenBusy.REJECT:
        raise SessionBusy(head.session, line[0][0])
    if sum(status is TurnStatus.QUEUED for _, status in line) >= act.context.queue_limit:
        raise QueueFull(head.session, act.context.queue_limit)
    running = [turn for turn, status in line if status is not TurnStatus.QUEUED]
    if running and prompt.when_busy is WhenBusy.INTERRUPT:
        act.ask(head, Wish(head.session, InputKind.CANCEL, turn=running[0]))


def _check_steer(act: Act, head: Head) -> None:
    agent, abilities = abilities_of(act, head.session)
    if not abilities.steer:
        raise Unsupported(
            f"{agent} cannot be steered in mid turn. Send the prompt with when_busy=queue or interrupt.",
            agent=agent,
            when_busy=WhenBusy.STEER.value,
        )


def abilities_of(act: Act, session: SessionId) -> tuple[str, Abilities]:
    """The session's agent and what it can do; nothing where this release does not know it."""
    found = sessions.get(act.connection, act.caller.tenant, session, act.context.sealer)
    if found is None:
        raise NotFound("session", session)
    return found.spec.agent, act.context.agents.get(found.spec.agent, Abilities(modes=frozenset()))
