"""Agents, workers, keys and the caller itself on the wire."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from marshmallow import fields, validate

from api.schemas.fields import Moment, Request, Text, View, line, moment, shown
from api.schemas.paging import list_of
from shared.domain.tenant import Scope
from shared.operations.fleet import AgentState


class TestedView(View):
    """Versions a driver was held to."""

    oldest = shown(fields.String, "The oldest.")
    newest = shown(fields.String, "The newest.")


class FoundView(View):
    """What one worker has of an agent."""

    worker = shown(fields.String, "The worker's name.")
    ready = shown(fields.Boolean, "Whether it can start the agent.")
    version = shown(fields.String, "Version of its program.", maybe=True)
    problem = shown(fields.String, "What is missing.", maybe=True)
    path = shown(fields.String, "Where its program is.", maybe=True)
    logged_in = shown(fields.Boolean, "Whether an account is there; null: nobody can tell.", maybe=True)


class AgentView(View):
    """One agent Corral can run."""

    name = shown(fields.String, "What `agent` of a new session names.")
    ready = shown(fields.Boolean, "Whether a live worker has its program.")
    workers = shown(fields.List, "Names of the workers that are ready for it.", cls_or_instance=fields.String())
    version = shown(fields.String, "Version of its program on one of them.", maybe=True)
    problem = shown(fields.String, "What is missing, where it is not ready.", maybe=True)
    modes = shown(fields.List, "Modes it knows.", cls_or_instance=fields.String())
    commands = shown(fields.List, "Slash commands it has.", cls_or_instance=fields.String())
    abilities = shown(
        fields.Dict, "What it can do in this version: `questions, plans, steer, resume, cost, deny_reason, …`."
    )
    tested = fields.Nested(
        TestedView,
        required=True,
        allow_none=True,
        metadata={"description": "Versions of its program that Corral was held to; null: none is declared."},
    )
    is_tested = shown(fields.Boolean, "Whether `version` is among those; null: that cannot be told.", maybe=True)
    logged_in = shown(
        fields.Boolean,
        "Whether a ready worker has an account for it, as far as can be seen without using it; null: nobody can tell. "
        "A session may bring its own in `env`.",
        maybe=True,
    )
    models = shown(
        fields.List,
        "Models it may be asked for, as patterns, where the operator has bounded them; else those known of.",
        cls_or_instance=fields.String(),
    )
    models_bounded = shown(fields.Boolean, "Whether any other model is refused.")
    found = fields.List(
        fields.Nested(FoundView),
        required=True,
        allow_none=True,
        metadata={"description": "What each live worker has of it. Null for keys without the scope `admin`."},
    )


AgentPage = list_of(AgentView, "agents")


class WorkerView(View):
    """One worker or delivery process."""

    id = shown(fields.String, "`wkr_…`; a restart is a new one.")
    name = shown(fields.String, "Its stable name.")
    role = shown(fields.String, "`worker` or `delivery`.")
    state = shown(fields.String, "Where it is in its life.")
    volume_id = shown(fields.String, "The disk whose workspaces it holds.", maybe=True)
    capacity = shown(fields.Integer, "Sessions it may host at once.")
    used = shown(fields.Integer, "Sessions it hosts.")
    agents = shown(fields.Dict, "Agents it can start.")
    started_at = moment("When it started.")
    beat_at = moment("When it last said that it lives, by its own clock.")


WorkerPage = list_of(WorkerView, "workers")


class CreateKey(Request):
    """A new API key."""

    name = line("For people; shown beside what the key did.", max_length=100, required=True)
    scopes = fields.List(
        Text(validate=validate.OneOf([one.value for one in Scope])),
        required=True,
        validate=validate.Length(1, len(Scope)),
        metadata={"description": "`read`, `write`, `admin` (holds the others and manages keys and workers)."},
    )
    expires_at = Moment(load_default=None, allow_none=True, metadata={"description": "Null: never."})


class KeyView(View):
    """One API key, without its secret."""

    id = shown(fields.String, "`key_…`")
    name = shown(fields.String, "For people.")
    scopes = shown(fields.List, "What it may do.", cls_or_instance=fields.String())
    created_at = moment("When it was made.")
    expires_at = moment("When it ends.", maybe=True)
    revoked_at = moment("When it was revoked.", maybe=True)
    last_used_at = moment("When it was last used, to the minute.", maybe=True)


class KeyCreated(KeyView):
    """A new API key with its secret."""

    key = shown(fields.String, "The key itself. Shown this once.")


KeyPage = list_of(KeyView, "keys")


class MeView(View):
    """Who this key is."""

    tenant_id = shown(fields.String, "`ten_…`")
    key_id = shown(fields.String, "`key_…`")
    name = shown(fields.String, "The key's name.")
    scopes = shown(fields.List, "What it may do.", cls_or_instance=fields.String())


class HealthView(View):
    """The process runs."""

    status = shown(fields.String, "`ok`.")


class ReadyView(View):
    """Whether the process can do its work."""

    status = shown(fields.String, "`ready` or `not_ready`.")
    missing = shown(fields.List, "What it cannot do without; not ready.", cls_or_instance=fields.String())
    warnings = shown(fields.List, "What is away and will be missed.", cls_or_instance=fields.String())


def agent_fields(state: AgentState, *, is_operator: bool) -> dict[str, Any]:
    """One agent, as `AgentView` dumps it. Where programs lie on a worker's disk is the operator's business."""
    readiness, tested = state.readiness, state.abilities.profile.tested
    return {
        "name": state.name,
        "ready": bool(readiness.workers),
        "workers": list(readiness.workers),
        "version": readiness.version,
        "problem": readiness.problem,
        "modes": sorted(state.abilities.modes),
        "commands": sorted(state.abilities.commands),
        "abilities": state.abilities.shown(readiness.version),
        "tested": None if tested is None else {"oldest": tested[0], "newest": tested[1]},
        "is_tested": state.is_tested,
        "logged_in": readiness.logged_in,
        "models": list(state.models),
        "models_bounded": state.models_bounded,
        "found": [asdict(one) for one in readiness.found] if is_operator else None,
    }
