"""The protocol side of MCP: lists tools and carries calls to and fro, with the official SDK. Holds no state.

Imported with the first request for MCP: the SDK costs 24 MB and seconds, which an API nobody asks for MCP need not pay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from api.mcp import elicit
from api.mcp.calls import Calls, Filled, Human, NeedsHuman, Tell
from api.mcp.jsonschema import given_schema, taken_schema
from api.mcp.tool import Guest, Told, Tool
from api.problems import Problem
from api.wire import GUEST, REQUEST_ID, VERSION
from shared.domain.tenant import Caller, Scope

NAME: Final = "corral"
_ABOUT: Final = """Corral runs coding agents (Claude Code and others), each in a workspace of its own.

Start a session with a task, wait with session_wait (call it again with `offset` until the turn is over), and send
further prompts. Where an agent waits for a human (`asks` is not empty), show the human what it asks and give their
answer. Sessions go on while nobody waits."""

Context = ServerRequestContext[Any, Any]


def make_server(tools: Mapping[str, Tool], calls: Calls) -> Server[Any]:
    """The SDK's server with our tools; any process answers any call."""
    shown = {name: _described(tool) for name, tool in tools.items()}
    face = _Face(tools, shown, calls)
    server: Server[Any] = Server(
        NAME,
        version=VERSION,
        title="Corral",
        instructions=_ABOUT,
        get_tool_input_schema=face.input_schema,
        on_list_tools=face.list_tools,
        on_call_tool=face.call_tool,
    )
    # The SDK's spans would need an exporter, which is not set up here.
    server.middleware.clear()
    return server


class _Face:
    """Answers the two requests that matter."""

    def __init__(self, tools: Mapping[str, Tool], shown: Mapping[str, types.Tool], calls: Calls) -> None:
        self._tools = tools
        self._shown = shown
        self._calls = calls

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """What a tool takes."""
        found = self._shown.get(name)
        return found.input_schema if found else None

    async def list_tools(self, ctx: Context, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """The tools the caller's key may use."""
        caller = _guest(ctx).caller
        return types.ListToolsResult(
            tools=[shown for name, shown in self._shown.items() if caller.may(self._tools[name].shape.scope)]
        )

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """One call. What goes wrong is told in the result, where the model reads it."""
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:100]}")
        guest = _guest(ctx)
        human = _human(ctx, guest.caller, params)
        answer = await self._calls.call(tool, guest, params.arguments or {}, human, _tell(ctx))
        match answer:
            case NeedsHuman(asks):
                return types.InputRequiredResult(input_requests={ask["id"]: _form(ask) for ask in asks})
            case Problem():
                return _failed(answer, _scope(ctx)[REQUEST_ID])
            case _:
                return _succeeded(answer)


def _described(tool: Tool) -> types.Tool:
    hints = tool.shape.hints
    return types.Tool(
        name=tool.name,
        title=tool.shape.title,
        description=tool.description,
        input_schema=taken_schema(tool.shape.takes),
        output_schema=given_schema(tool.shape.gives),
        annotations=types.ToolAnnotations(
            title=tool.shape.title,
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            # What an agent does with a prompt reaches as far as its workspace lets it.
            open_world_hint=not hints.read_only,
        ),
    )


def _succeeded(told: dict[str, Any]) -> types.CallToolResult:
    text = json.dumps(told, ensure_ascii=False)
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=told)


def _failed(problem: Problem, request_id: str) -> types.CallToolResult:
    told: dict[str, Any] = {"error": problem.code, "message": problem.detail, "request_id": request_id}
    if problem.errors:
        told["errors"] = [{"field": one.field, "message": one.message} for one in problem.errors]
    if problem.details:
        told["details"] = problem.details
    if (after := problem.headers.get("Retry-After")) is not None:
        told["retry_after_s"] = int(after)
    return types.CallToolResult(content=[types.TextContent(text=json.dumps(told, ensure_ascii=False))], is_error=True)


def _guest(ctx: Context) -> Guest:
    guest: Guest = _scope(ctx)[GUEST]
    return guest


def _scope(ctx: Context) -> Mapping[str, Any]:
    # Both transports hand on the request they came with, which has passed the door.
    request: Any = ctx.request
    scope: Mapping[str, Any] = request.scope
    return scope


def _tell(ctx: Context) -> Tell:
    async def tell(waited_s: float, at_most_s: float, seen: str) -> None:
        await ctx.session.report_progress(round(waited_s, 3), round(at_most_s, 3), seen)

    return tell


def _human(ctx: Context, caller: Caller, params: types.CallToolRequestParams) -> Human:
    comes_back = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    shows_forms = _shows_forms(ctx.session.client_capabilities) and caller.may(Scope.WRITE)

    async def ask(told: Told) -> Filled:
        form = _form(told).params
        if not isinstance(form, types.ElicitRequestFormParams):
            raise TypeError
        result = await ctx.session.elicit_form(form.message, form.requested_schema, ctx.request_id)
        return Filled(result.action, result.content or {})

    if comes_back:
        return Human(shows_forms, _filled(params))
    return Human(shows_forms and ctx.session.can_send_request, ask=ask)


def _shows_forms(capabilities: types.ClientCapabilities | None) -> bool:
    # A bare `elicitation: {}` is the older way to say form.
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _filled(params: types.CallToolRequestParams) -> dict[str, Filled]:
    responses = params.input_responses or {}
    return {
        name: Filled(response.action, response.content or {})
        for name, response in responses.items()
        if isinstance(response, types.ElicitResult)
    }


def _form(ask: Told) -> types.ElicitRequest:
    params = types.ElicitRequestFormParams(message=elicit.message_of(ask), requested_schema=elicit.form_of(ask))
    return types.ElicitRequest(params=params)
