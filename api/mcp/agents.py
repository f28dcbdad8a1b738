"""The tool that tells which agents can be started."""

from __future__ import annotations

from marshmallow import fields

from api.mcp.fields import camelled
from api.mcp.tool import Asked, Family, Shape, Told
from api.schemas.fields import Request, View
from api.schemas.fleet import AgentView, agent_fields
from shared.domain.tenant import Scope
from shared.operations import fleet

tools = Family("agents")

AgentShown = camelled(AgentView)


class Nothing(Request):
    """No arguments."""


class AgentList(View):
    """Agents by name."""

    agents = fields.List(fields.Nested(AgentShown), required=True, metadata={"description": "Agents, by name."})


@tools.add(Shape("List agents", Nothing, AgentList, Scope.READ, {}))
def agents_list(asked: Asked) -> Told:
    """Every agent, whether a worker can start it now, and what it can do. `name` is what `session_start` takes."""
    return {
        "agents": [
            agent_fields(state, is_operator=Scope.ADMIN in asked.caller.scopes) for state in fleet.agents(asked.context)
        ]
    }
