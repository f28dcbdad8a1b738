"""How a session and what was made with it are shown to callers."""

from __future__ import annotations

import dataclasses
from typing import Any

from api.schemas import turns
from api.schemas.usage import totals_of
from shared.domain.usage import to_micro_usd, to_usd
from shared.domain.webhook import Endpoint
from shared.operations.sessions import Created, Seen


def view(seen: Seen) -> dict[str, Any]:
    """One session, as `SessionView` and its heirs dump it. Sealed parts of the spec stay out."""
    session, spec = seen.session, seen.session.spec
    return {
        "id": session.id,
        "agent": spec.agent,
        "status": session.status.value,
        "external": session.is_external,
        "queue_position": seen.queue_position,
        "title": spec.title,
        "metadata": dict(spec.metadata),
        "workspace": {"kind": spec.workspace_kind, "spec": spec.workspace},
        "mode": spec.mode.value,
        "model": spec.model,
        "limits": dataclasses.asdict(spec.limits),
        "on_worker_loss": spec.on_worker_loss.value,
        "on_budget": spec.on_budget.value,
        "ask_timeout_s": spec.ask_timeout_s,
        "allowed_domains": list(spec.allowed_domains),
        "version": session.version,
        "worker": session.worker,
        "agent_session_id": session.agent_session_id,
        "forked_from": None if session.origin is None else session.origin.session,
        "last_seq": session.last_seq,
        "turns_started": session.turns_started,
        "cost_usd": to_usd(to_micro_usd(session.cost_usd)),
        "usage": totals_of(seen.usage),
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "ended_at": session.ended_at,
        "end_reason": session.end_reason,
        "end_detail": session.end_detail,
        "turn": None if seen.turn is None else turns.fields_of(seen.turn, seen.turn_position),
    }


def view_created(created: Created) -> dict[str, Any]:
    """A new session with its webhook, whose secret is shown this once."""
    return view_made(created.seen, created.webhook)


def view_made(seen: Seen, made: Endpoint | None) -> dict[str, Any]:
    """The same of its parts."""
    webhook = None if made is None else {"id": made.id, "url": made.spec.url, "secret": made.secret}
    return {**view(seen), "webhook": webhook}
