"""What a loaded `CreateSession` wants, in the operations' words; every door that starts sessions reads it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.domain.budget import OnBudget
from shared.domain.errors import InvalidField
from shared.domain.session import Mode, OnWorkerLoss, SessionSpec
from shared.operations.callbacks import SessionWebhook
from shared.operations.sessions import Attachment, NewSession


def wish_of(body: Mapping[str, Any]) -> NewSession:
    """What a loaded `CreateSession` wants."""
    workspace = body["workspace"] or {"kind": "folder"}
    spec = SessionSpec(
        agent=body["agent"],
        workspace_kind=workspace["kind"],
        workspace=workspace,
        mode=Mode(body["mode"]),
        model=body["model"],
        title=body["title"],
        metadata=body["metadata"],
        env=body["env"],
        mcp_servers=body["mcp_servers"],
        allowed_domains=tuple(body["allowed_domains"]),
        on_worker_loss=OnWorkerLoss(body["on_worker_loss"]),
        ask_timeout_s=body["ask_timeout_s"],
        on_budget=OnBudget(body["on_budget"]),
    )
    hook = body["webhook"]
    webhook = None if hook is None else SessionWebhook(hook["url"], hook.get("secret"), tuple(hook.get("events", ())))
    return NewSession(spec, body["limits"], body["prompt"], body["source"], webhook, attach=_attachment(body))


def _attachment(body: Mapping[str, Any]) -> Attachment | None:
    conversation, entries = body["agent_session_id"], body["transcript"]
    if conversation is None:
        if entries:
            raise InvalidField("transcript", "is that of a conversation; agent_session_id must name it")
        return None
    return Attachment(conversation, tuple(entries))
