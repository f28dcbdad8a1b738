"""Sessions: create, read, change, end. Each change is one transaction with its inputs, events and answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Unpack

from shared.agents.driver import Abilities
from shared.domain.errors import AgentNotReady, NotFound, UnknownAgent, UnknownWorkspaceKind, Unsupported
from shared.domain.ids import BatchId, SessionId, TurnId, mint_session
from shared.domain.input import InputKind, Wish
from shared.domain.json import JsonObject
from shared.domain.session import EndReason, Limits, Mode, Session, SessionSpec, SessionStatus
from shared.domain.tenant import Caller
from shared.domain.turn import Turn
from shared.domain.webhook import Endpoint
from shared.domain.worker import lacking
from shared.operations import callbacks, files, prompts
from shared.operations.context import Context
from shared.operations.endings import end_under_lock
from shared.operations.fleet import readiness
from shared.operations.transaction import Act, Once, carry_out
from shared.store import heads, sessions, turns, workers
from shared.store.heads import Head
from shared.store.sessions import UNSET, SessionFilter, Unset

LimitChanges = Mapping[str, float | int | None]
"""Bounds by name of `Limits`; None: no bound."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a caller wants. `spec.limits` is ignored: `limits` says what differs from the server's defaults."""

    spec: SessionSpec
    limits: LimitChanges = field(default_factory=dict)
    prompt: str | None = None
    source: str = "api"
    webhook: callbacks.SessionWebhook | None = None
    batch: BatchId | None = None
    """The batch its prompt is an item of."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A session as it is now, with what is only known by looking around it."""

    session: Session
    queue_position: int | None
    """Sessions that wait for a worker before it; None: it does not wait for one."""
    turn: Turn | None = None
    turn_position: int | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` made."""

    seen: Seen
    webhook: Endpoint | None


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What a caller changes; UNSET stays. `if_version` guards against somebody else's change in between."""

    title: str | Unset | None = UNSET
    metadata: Mapping[str, str] | Unset = UNSET
    mode: Mode | Unset = UNSET
    model: str | Unset | None = UNSET
    limits: LimitChanges = field(default_factory=dict)
    if_version: int | None = None


def create(context: Context, caller: Caller, new: NewSession, *, once: Once[Created] | None = None) -> Created:
    """Make a session, and its first turn where there is a prompt. A worker brings the agent up soon.

    Raises:
        UnknownAgent, UnknownWorkspaceKind, AgentNotReady, Unsupported, InvalidField: it cannot be as wished;
            nothing was made.
    """
    spec = complete(context, new)
    if new.webhook is not None:
        callbacks.check_session_webhook(context.webhook_rules, new.webhook)
    return carry_out(context, caller, once, lambda act: make(act, spec, new))


def get(context: Context, caller: Caller, session: SessionId, *, turn: TurnId | None = None) -> Seen:
    """One session, and one turn of it where asked for.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        found = sessions.get(connection, caller.tenant, session, context.sealer)
        if found is None:
            raise NotFound("session", session)
        wanted = turns.get(connection, caller.tenant, turn) if turn else None
        if turn and (wanted is None or wanted.session != session):
            raise NotFound("turn", turn)
        place = heads.queue_position(connection, session)
        return Seen(found, place, wanted, prompts.place_of(connection, wanted))


def page(context: Context, caller: Caller, **filters: Unpack[SessionFilter]) -> tuple[list[Seen], str | None]:
    """Sessions of the caller's tenant, newest first, and the cursor of the next page.

    Raises:
        InvalidField: the cursor is none of ours.
    """
    with context.db.read() as connection:
        found, onward = sessions.page(connection, caller.tenant, **filters)
        return [
            Seen(one, heads.queue_position(connection, one.id) if one.status is SessionStatus.STARTING else None)
            for one in found
        ], onward


def change(context: Context, caller: Caller, session: SessionId, wish: SessionChange) -> Seen:
    """Change a session. Mode, model and limits also become inputs, in the order of the calls.

    Raises:
        NotFound: missing, or another tenant's.
        SessionEnded: mode, model and limits of an ended session stay.
        VersionMismatch: somebody changed it first; the error has the actual version.
        Unsupported: the agent has no such mode.
    """

    def effect(act: Act) -> Seen:
        touches_agent = wish.mode is not UNSET or wish.model is not UNSET or bool(wish.limits)
        head = act.lock_living(session) if touches_agent else act.lock(session)
        found = sessions.get(act.connection, caller.tenant, session, context.sealer)
        if found is None:
            raise NotFound("session", session)
        _store_change(act, found, wish)
        _tell_host(act, head, found, wish)
        changed = sessions.get(act.connection, caller.tenant, session, context.sealer)
        return Seen(changed or found, heads.queue_position(act.connection, session))

    return carry_out(context, caller, None, effect)


def terminate(
    context: Context,
    caller: Caller,
    session: SessionId,
    *,
    remove_workspace: bool = False,
    once: Once[Seen] | None = None,
) -> Seen:
    """End a session. Its host stops the agent's whole tree; where nobody hosts it, it has ended on return.

    Safe to repeat: an ended session stays as it is. `remove_workspace` also removes the workspace, where Corral made
    it; that needs a worker of its volume, so such a session ends when one has done it.

    Raises:
        NotFound: missing, or another tenant's.
        FilesAway: it had ended before, and no live worker has the disk with its workspace.
    """
    has_ended = False

    def effect(act: Act) -> Seen:
        nonlocal has_ended
        head = act.lock(session)
        has_ended = head.status is SessionStatus.ENDED
        if not has_ended:
            _end(act, head, remove_workspace=remove_workspace)
        found = sessions.get(act.connection, caller.tenant, session, context.sealer)
        if found is None:
            raise NotFound("session", session)
        return Seen(found, heads.queue_position(act.connection, session))

    seen = carry_out(context, caller, once, effect)
    if has_ended and remove_workspace:
        files.remove(context, caller, session)
    return seen


def stop(act: Act, session: SessionId) -> bool:
    """What `terminate` does, inside the caller's transaction; whether it has ended already.

    Raises:
        NotFound: missing, or another tenant's.
    """
    head = act.lock(session)
    if head.status is not SessionStatus.ENDED:
        _end(act, head, remove_workspace=False)
    return head.status is SessionStatus.ENDED or head.owner is None


def _end(act: Act, head: Head, *, remove_workspace: bool) -> None:
    has_files = head.volume_id is not None or head.portable
    if head.owner is None and not (remove_workspace and has_files):
        act.events += end_under_lock(act.connection, head.session, EndReason.TERMINATED, None)
        return
    data: JsonObject = {"remove_workspace": True} if remove_workspace else {}
    act.ask(head, Wish(head.session, InputKind.STOP, data=data))
    act.ring_end(head.session)


def complete(context: Context, new: NewSession) -> SessionSpec:
    """The spec with all that was left open filled in; the webhook is not looked at.

    Raises:
        UnknownAgent, UnknownWorkspaceKind, Unsupported, InvalidField: it cannot be as wished.
    """
    spec = new.spec
    check_mode(context, spec.agent, _abilities(context, spec.agent), spec.mode)
    kind = context.kinds.get(spec.workspace_kind)
    if kind is None:
        raise UnknownWorkspaceKind(spec.workspace_kind, ", ".join(sorted(context.kinds)))
    if spec.allowed_domains:
        # Accepting a list nobody enforces would promise a wall that is not there.
        raise Unsupported(f"Workspace kind {kind.name} cannot enforce allowed_domains.", kind=kind.name)
    limits = replace(context.limits, **new.limits)  # type: ignore[arg-type] # names and types are the schema's
    return replace(spec, workspace=kind.check(spec.workspace, context.folders), limits=limits)


def _abilities(context: Context, agent: str) -> Abilities:
    abilities = context.agents.get(agent)
    if abilities is None:
        raise UnknownAgent(agent, ", ".join(sorted(context.agents)))
    return abilities


def check_mode(context: Context, agent: str, abilities: Abilities, mode: Mode) -> None:
    """Refuse a mode the agent lacks or the operator forbids.

    Raises:
        Unsupported: with what the agent has.
    """
    if mode not in abilities.modes:
        has = ", ".join(sorted(abilities.modes))
        raise Unsupported(f"{agent} has no mode {mode}. It has: {has}.", agent=agent, mode=mode.value)
    if mode is Mode.BYPASS and not context.allow_bypass:
        raise Unsupported(
            "Mode bypass is switched off here; the operator can allow it with CORRAL_ALLOW_BYPASS.", mode=mode.value
        )


def make(act: Act, spec: SessionSpec, new: NewSession) -> Created:
    """What `create` does, inside the caller's transaction; `spec` is complete.

    Raises:
        AgentNotReady: no worker has the agent's program.
    """
    context, caller = act.context, act.caller
    _check_ready(act, spec.agent)
    session = mint_session()
    sessions.create(
        act.connection, spec, id=session, tenant=caller.tenant, key=caller.key, sealer=context.sealer, at=act.at
    )
    heads.create(
        act.connection,
        session,
        caller.tenant,
        portable=context.kinds[spec.workspace_kind].portable,
        start_by=None if spec.limits.start_s is None else act.at + timedelta(seconds=spec.limits.start_s),
        end_by=None if spec.limits.lifetime_s is None else act.at + timedelta(seconds=spec.limits.lifetime_s),
    )
    made = callbacks.make_session_webhook(act, session, new.webhook) if new.webhook else None
    turn = None
    if new.prompt is None:
        act.ask(None, Wish(session, InputKind.START))
    else:
        turn = prompts.queue_turn(act, None, session, prompts.Prompt(new.prompt, source=new.source, batch=new.batch))
    found = sessions.get(act.connection, caller.tenant, session, context.sealer)
    if found is None:
        raise NotFound("session", session)
    seen = Seen(found, heads.queue_position(act.connection, session), turn, 0 if turn else None)
    return Created(seen, made)


def _check_ready(act: Act, agent: str) -> None:
    rows = workers.live(act.connection, "worker")
    # With no worker at all the session waits `starting` for one, and a worker that has just come up has not told yet
    # what it has; workers that all lack the program never take it.
    if agent in lacking(rows):
        raise AgentNotReady(agent, readiness(rows, agent).problem or "its program was not found")


def _store_change(act: Act, found: Session, wish: SessionChange) -> None:
    limits: Limits | Unset = UNSET
    if wish.limits:
        limits = replace(found.spec.limits, **wish.limits)  # type: ignore[arg-type] # names and types are the schema's
        lifetime_s = limits.lifetime_s
        end_by = None if lifetime_s is None else found.created_at + timedelta(seconds=lifetime_s)
        heads.set_end_by(act.connection, found.id, end_by)
    if isinstance(wish.mode, Mode):
        check_mode(act.context, found.spec.agent, _abilities(act.context, found.spec.agent), wish.mode)
    sessions.patch(
        act.connection,
        found.id,
        title=wish.title,
        metadata=wish.metadata,
        mode=wish.mode,
        model=wish.model,
        limits=limits,
        if_version=wish.if_version,
    )


def _tell_host(act: Act, head: Head, found: Session, wish: SessionChange) -> None:
    if isinstance(wish.mode, Mode) and wish.mode is not found.spec.mode:
        act.ask(head, Wish(found.id, InputKind.MODE, data={"mode": wish.mode.value}))
    if not isinstance(wish.model, Unset) and wish.model != found.spec.model:
        act.ask(head, Wish(found.id, InputKind.MODEL, data={"model": wish.model}))
    if wish.limits:
        act.ask(head, Wish(found.id, InputKind.LIMITS))
