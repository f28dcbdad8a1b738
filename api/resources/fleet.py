"""Agents, workers, keys, and who the caller is."""

from __future__ import annotations

from typing import Any

from api.paging import page
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.fleet import (
    AgentPage,
    AgentView,
    CreateKey,
    KeyCreated,
    KeyPage,
    MeView,
    WorkerPage,
    agent_fields,
)
from api.schemas.paging import PageQuery
from shared.domain.errors import NotFound, UnknownAgent
from shared.domain.ids import KeyId
from shared.domain.tenant import ApiKey, Scope
from shared.operations import fleet, keys
from shared.operations.keys import MadeKey, NewKey

routes = Routes("fleet", "What there is: agents, workers, keys, and who you are.")


@routes.add(Route("GET", "/v1/me", replies={200: Shown(MeView, "You.")}, scope=Scope.READ))
def get_me(call: Call) -> Reply:
    """Who this key is."""
    me = call.caller
    return tell(MeView, {"tenant_id": me.tenant, "key_id": me.key, "name": me.name, "scopes": sorted(me.scopes)})


@routes.add(Route("GET", "/v1/agents", replies={200: Shown(AgentPage, "Agents, by name.")}, scope=Scope.READ))
def list_agents(call: Call) -> Reply:
    """Every agent, what it can do, and which workers are ready for it."""
    is_operator = Scope.ADMIN in call.caller.scopes
    shown = [agent_fields(state, is_operator=is_operator) for state in fleet.agents(call.context)]
    return tell(AgentPage, page(shown, None))


@routes.add(Route("GET", "/v1/agents/<name>", replies={200: Shown(AgentView, "The agent.")}, scope=Scope.READ))
def get_agent(call: Call) -> Reply:
    """One agent."""
    name = call.path["name"]
    try:
        state = fleet.agent(call.context, name)
        return tell(AgentView, agent_fields(state, is_operator=Scope.ADMIN in call.caller.scopes))
    except UnknownAgent as problem:
        # In a path an unknown name is a missing thing; in a body it is a wrong word.
        raise NotFound("agent", name[:64]) from problem


@routes.add(
    Route("GET", "/v1/workers", replies={200: Shown(WorkerPage, "Processes, oldest first.")}, scope=Scope.ADMIN)
)
def list_workers(call: Call) -> Reply:
    """Worker and delivery processes, lost ones too."""
    rows = fleet.processes(call.context)
    return tell(WorkerPage, page([{"id": row.incarnation, **_fields(row)} for row in rows], None))


@routes.add(
    Route(
        "GET",
        "/v1/keys",
        replies={200: Shown(KeyPage, "Keys, newest first.")},
        scope=Scope.ADMIN,
        query=PageQuery,
    )
)
def list_keys(call: Call) -> Reply:
    """API keys of the tenant, revoked ones too; never their secrets."""
    found, onward = keys.page(call.context, call.caller, cursor=call.query["cursor"], limit=call.query["limit"])
    return tell(KeyPage, page([_key(key) for key in found], onward))


def _made(made: MadeKey) -> Reply:
    return tell(KeyCreated, {**_key(made.key), "key": made.secret}, 201)


@routes.add(
    Route(
        "POST",
        "/v1/keys",
        replies={201: Shown(KeyCreated, "The key with its secret, which is shown this once.")},
        scope=Scope.ADMIN,
        body=CreateKey,
    )
)
def create_key(call: Call) -> Reply:
    """Make an API key of your tenant."""
    scopes = frozenset(Scope(word) for word in call.body["scopes"])
    wish = NewKey(call.body["name"], scopes, call.body["expires_at"])
    return _made(keys.create(call.context, call.caller, wish, once=call.once(_made)))


@routes.add(
    Route(
        "DELETE",
        "/v1/keys/<key_id>",
        replies={204: Shown(None, "Revoked.")},
        scope=Scope.ADMIN,
    )
)
def revoke_key(call: Call) -> Reply:
    """Revoke a key for good; other API processes may take it for two more seconds. Safe to repeat."""
    keys.revoke(call.context, call.caller, call.id("key_id", "key", KeyId))
    call.edge.keyring.forget()
    return Reply(204, "")


def _fields(row: object) -> dict[str, Any]:
    names = ("name", "role", "state", "volume_id", "capacity", "used", "agents", "started_at", "beat_at")
    return {name: getattr(row, name) for name in names}


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
