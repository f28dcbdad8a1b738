"""What a caller changes of a session that is there. One transaction with its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.domain.errors import NotFound
from shared.domain.ids import SessionId
from shared.domain.input import InputKind, Wish
from shared.domain.session import Limits, Mode, Session
from shared.domain.tenant import Caller
from shared.operations.context import Context
from shared.operations.sessions import LimitChanges, Seen, agent_abilities, check_mode, check_model
from shared.operations.transaction import Act, carry_out
from shared.store import heads, sessions, usage
from shared.store.heads import Head
from shared.store.sessions import UNSET, Unset


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What a caller changes; UNSET stays. `if_version` guards against somebody else's change in between."""

    title: str | Unset | None = UNSET
    metadata: Mapping[str, str] | Unset = UNSET
    mode: Mode | Unset = UNSET
    model: str | Unset | None = UNSET
    limits: LimitChanges = field(default_factory=dict)
    if_version: int | None = None


def change(context: Context, caller: Caller, session: SessionId, wish: SessionChange) -> Seen:
    """Change a session. Mode, model and limits also become inputs, in the order of the calls.

    Raises:
        NotFound: missing, or another tenant's.
        SessionEnded: mode, model and limits of an ended session stay.
        VersionMismatch: somebody changed it first; the error has the actual version.
        Unsupported: the agent has no such mode.
        ModelNotAllowed: the operator does not let the agent be asked for this model.
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
        used = usage.of_session(act.connection, session)
        return Seen(changed or found, heads.queue_position(act.connection, session), usage=used)

    return carry_out(context, caller, None, effect)


def _store_change(act: Act, found: Session, wish: SessionChange) -> None:
    limits: Limits | Unset = UNSET
    if wish.limits:
        limits = replace(found.spec.limits, **wish.limits)  # type: ignore[arg-type] # names and types are the schema's
        lifetime_s = limits.lifetime_s
        end_by = None if lifetime_s is None else found.created_at + timedelta(seconds=lifetime_s)
        heads.set_end_by(act.connection, found.id, end_by)
    if isinstance(wish.mode, Mode):
        check_mode(act.context, found.spec.agent, agent_abilities(act.context, found.spec.agent), wish.mode)
    if isinstance(wish.model, str):
        check_model(act.context, found.spec.agent, wish.model)
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
