"""Sessions: create, read, change, end. Each change is one transaction with its inputs, events and answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Unpack

from shared.agents.driver import Abilities
from shared.domain.domains import check
from shared.domain.errors import (
    AgentNotReady,
    ModelNotAllowed,
    NotFound,
    UnknownAgent,
    UnknownWorkspaceKind,
    Unsupported,
)
from shared.domain.ids import BatchId, SessionId, TurnId, mint_session
from shared.domain.input import InputKind, Wish
from shared.domain.json import JsonObject
from shared.domain.session import EndReason, Mode, Origin, Session, SessionSpec, SessionStatus
from shared.domain.tenant import Caller
from shared.domain.turn import Turn
from shared.domain.usage import Totals
from shared.domain.webhook import Endpoint
from shared.domain.worker import lacking
from shared.operations import callbacks, files, folders, prompts
from shared.operations.context import Context
from shared.operations.endings import end_under_lock
from shared.operations.fleet import readiness
from shared.operations.transaction import Act, Once, carry_out
from shared.store import external, heads, sessions, transcripts, turns, usage, workers
from shared.store.heads import Head
from shared.store.sessions import SessionFilter

LimitChanges = Mapping[str, float | int | None]
"""Bounds by name of `Limits`; None: no bound."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A conversation begun outside of Corral that a new session goes on with."""

    conversation: str
    """The agent's own id of it."""
    entries: Sequence[JsonObject] = ()
    """Its transcript; none: a worker looks for it where the operator allows."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a new session takes over from another one of its tenant."""

    origin: Origin
    volume_id: str | None
    """The disk with the files it begins with."""


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
    attach: Attachment | None = None
    inherits: Inheritance | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A session as it is now, with what is only known by looking around it."""

    session: Session
    queue_position: int | None
    """Sessions that wait for a worker before it; None: it does not wait for one."""
    turn: Turn | None = None
    turn_position: int | None = None
    usage: Totals = field(default_factory=Totals)


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` made."""

    seen: Seen
    webhook: Endpoint | None


def create(context: Context, caller: Caller, new: NewSession, *, once: Once[Created] | None = None) -> Created:
    """Make a session, and its first turn where there is a prompt. A worker brings the agent up soon.

    Raises:
        UnknownAgent, UnknownWorkspaceKind, AgentNotReady, Unsupported, InvalidField: it cannot be as wished;
            nothing was made.
        FolderInUse: another session works in its folder.
        BudgetExhausted: the tenant may not spend any more today, and there is a prompt.
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
        place = heads.queue_position(connection, session) if found.status is SessionStatus.STARTING else None
        used = usage.of_session(connection, session)
        return Seen(found, place, wanted, prompts.place_of(connection, wanted), used)


def page(context: Context, caller: Caller, **filters: Unpack[SessionFilter]) -> tuple[list[Seen], str | None]:
    """Sessions of the caller's tenant, newest first, and the cursor of the next page.

    Raises:
        InvalidField: the cursor is none of ours.
    """
    with context.db.read() as connection:
        found, onward = sessions.page(connection, caller.tenant, **filters)
        used = usage.of_sessions(connection, [one.id for one in found])
        return [
            Seen(
                one,
                heads.queue_position(connection, one.id) if one.status is SessionStatus.STARTING else None,
                usage=used.get(one.id, Totals()),
            )
            for one in found
        ], onward


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
    it; that needs a worker of its volume, so such a session ends when one has done it. The token of an external session
    ends with it.

    Raises:
        NotFound: missing, or another tenant's.
        FilesAway: it had ended before, and no live worker has the disk with its workspace.
    """
    has_ended = False

    def effect(act: Act) -> Seen:
        nonlocal has_ended
        _withdraw(act, session)
        head = act.lock(session)
        has_ended = head.status is SessionStatus.ENDED
        if not has_ended:
            _end(act, head, remove_workspace=remove_workspace)
        found = sessions.get(act.connection, caller.tenant, session, context.sealer)
        if found is None:
            raise NotFound("session", session)
        used = usage.of_session(act.connection, session)
        return Seen(found, heads.queue_position(act.connection, session), usage=used)

    seen = carry_out(context, caller, once, effect)
    if has_ended and remove_workspace:
        files.remove(context, caller, session)
    return seen


def stop(act: Act, session: SessionId) -> bool:
    """What `terminate` does, inside the caller's transaction; whether it has ended already.

    Raises:
        NotFound: missing, or another tenant's.
    """
    _withdraw(act, session)
    head = act.lock(session)
    if head.status is not SessionStatus.ENDED:
        _end(act, head, remove_workspace=False)
    return head.status is SessionStatus.ENDED or head.owner is None


def _withdraw(act: Act, session: SessionId) -> None:
    """Who ends an external session wants no more reports: its token ends too, also where the agent had left before.

    Before the head is locked, as whoever takes a report locks the two.
    """
    external.withdraw(act.connection, act.caller.tenant, session)


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
        UnknownAgent, UnknownWorkspaceKind, Unsupported, ModelNotAllowed, InvalidField: it cannot be as wished.
    """
    spec = new.spec
    check_mode(context, spec.agent, agent_abilities(context, spec.agent), spec.mode)
    check_model(context, spec.agent, spec.model)
    kind = context.kinds.get(spec.workspace_kind)
    if kind is None:
        raise UnknownWorkspaceKind(spec.workspace_kind, ", ".join(sorted(context.kinds)))
    if new.attach is not None:
        _check_attach(context, spec.agent, new.attach)
    domains = check(spec.allowed_domains, "allowed_domains")
    if domains and (kind.portable or not context.holds_domains):
        # Accepting a list nobody enforces would promise a wall that is not there.
        why = f"Workspace kind {kind.name}" if kind.portable else "CORRAL_EGRESS=open"
        raise Unsupported(f"{why} cannot enforce allowed_domains.", kind=kind.name)
    limits = replace(context.limits, **new.limits)  # type: ignore[arg-type] # names and types are the schema's
    workspace = kind.check(spec.workspace, context.folders)
    return replace(spec, workspace=workspace, limits=limits, allowed_domains=domains)


def agent_abilities(context: Context, agent: str) -> Abilities:
    """What the agent can do.

    Raises:
        UnknownAgent: there is none of this name.
    """
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


def check_model(context: Context, agent: str, model: str | None) -> None:
    """Refuse a model the operator does not allow; the agent's own default always is.

    Raises:
        ModelNotAllowed: with what is allowed.
    """
    allowed = context.models.get(agent)
    if model is not None and allowed is not None and not any(fnmatchcase(model, pattern) for pattern in allowed):
        raise ModelNotAllowed(agent, model, ", ".join(allowed))


def make(act: Act, spec: SessionSpec, new: NewSession) -> Created:
    """What `create` does, inside the caller's transaction; `spec` is complete.

    Raises:
        AgentNotReady: no worker has the agent's program.
        FolderInUse: another session works in its folder.
    """
    context, caller = act.context, act.caller
    _check_ready(act, spec.agent)
    folders.take(act, spec)
    session = mint_session()
    origin = _origin(new)
    sessions.create(
        act.connection,
        spec,
        id=session,
        tenant=caller.tenant,
        key=caller.key,
        sealer=context.sealer,
        at=act.at,
        origin=origin,
    )
    heads.create(
        act.connection,
        session,
        caller.tenant,
        portable=context.kinds[spec.workspace_kind].portable,
        start_by=None if spec.limits.start_s is None else act.at + timedelta(seconds=spec.limits.start_s),
        end_by=None if spec.limits.lifetime_s is None else act.at + timedelta(seconds=spec.limits.lifetime_s),
    )
    if new.inherits is not None:
        heads.set_volume(act.connection, session, new.inherits.volume_id)
    _keep_transcript(act, session, new)
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


def _origin(new: NewSession) -> Origin | None:
    if new.inherits is not None:
        return new.inherits.origin
    return None if new.attach is None else Origin(None, new.attach.conversation, fork=False)


def _keep_transcript(act: Act, session: SessionId, new: NewSession) -> None:
    """What is known of the conversation it begins with, as if it had been mirrored."""
    origin = _origin(new)
    if origin is None or origin.conversation is None:
        return
    if origin.session is not None:
        transcripts.copy(act.connection, origin.session, session, origin.conversation)
    elif new.attach is not None:
        lines = [json.dumps(entry, separators=(",", ":")) for entry in new.attach.entries]
        transcripts.append(act.connection, session, origin.conversation, lines)


def _check_attach(context: Context, agent: str, attach: Attachment) -> None:
    if not agent_abilities(context, agent).attach:
        raise Unsupported(
            f"{agent} cannot go on with a conversation that was begun outside of Corral.",
            agent_session_id=attach.conversation,
        )
    if not attach.entries and not context.finds_transcripts:
        raise Unsupported(
            "Send the conversation's transcript along: workers may look for none here (CORRAL_ATTACH_FOLDERS).",
            agent_session_id=attach.conversation,
        )


def _check_ready(act: Act, agent: str) -> None:
    rows = workers.live(act.connection, "worker")
    # With no worker at all the session waits `starting` for one, and a worker that has just come up has not told yet
    # what it has; workers that all lack the program never take it.
    if agent in lacking(rows):
        raise AgentNotReady(agent, readiness(rows, agent).problem or "its program was not found")
