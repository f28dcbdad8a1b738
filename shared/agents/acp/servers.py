"""MCP servers of a session, as `session/new` wants them."""

from __future__ import annotations

from shared.agents import jsonlines
from shared.agents.acp.notices import notice
from shared.agents.driver import Emit
from shared.domain.json import JsonObject, JsonValue

_REMOTE = ("http", "sse")


def mcp_servers(servers: JsonObject, capabilities: JsonObject) -> tuple[list[JsonValue], list[Emit]]:
    """The servers the agent can be given, and a notice for each it cannot reach.

    `servers` maps names to `{command, args?, env?}` or `{type: http|sse, url, headers?}`. Every agent starts
    servers over stdio; the others it must have said it can.
    """
    given: list[JsonValue] = []
    left_out: list[Emit] = []
    for name in servers:
        server = jsonlines.obj(servers, name)
        kind = jsonlines.text(server, "type") or ("http" if "url" in server else "stdio")
        if kind in _REMOTE and capabilities.get(kind) is not True:
            left_out.append(
                notice("mcp_server_left_out", server=name, message=f"The agent cannot reach {kind} servers.")
            )
        elif kind in _REMOTE:
            headers = _pairs(jsonlines.obj(server, "headers"))
            given.append({"type": kind, "name": name, "url": jsonlines.text(server, "url"), "headers": headers})
        else:
            arguments: list[JsonValue] = [*jsonlines.strings(server, "args")]
            env = _pairs(jsonlines.obj(server, "env"))
            given.append({"name": name, "command": jsonlines.text(server, "command"), "args": arguments, "env": env})
    return given, left_out


def _pairs(values: JsonObject) -> list[JsonValue]:
    return [{"name": name, "value": value} for name, value in values.items() if isinstance(value, str)]
