"""Tools of Poke Orchestrator that start, lead and end sessions: its names and parameters, and the truth."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import fields, validate

from api.mcp.fields import taken
from api.mcp.sessions import OneSession, set_mode, start
from api.mcp.tool import ADDS, ENDS, SETS, Asked, Family, Shape, Told
from api.mcp.views import cwd_of, last_activity
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from api.schemas.fields import Request, Text, View, moment, shown, text, whole
from api.schemas.paging import PageQuery
from api.schemas.sessions import CreateSession
from shared.domain.errors import Unsupported
from shared.domain.session import Mode, Session, SessionStatus
from shared.domain.tenant import Scope
from shared.operations import fleet, sessions

tools = Family("poke sessions")

MODES: Final = {
    "bypassPermissions": Mode.BYPASS,
    "plan": Mode.PLAN,
    "acceptEdits": Mode.ACCEPT_EDITS,
    "default": Mode.INTERACTIVE,
}
"""Poke's words for modes, and ours. It has the first two."""
_WORDS: Final = {mode: word for word, mode in MODES.items()}
_STATES: Final = {
    SessionStatus.STARTING: "active",
    SessionStatus.RUNNING: "active",
    SessionStatus.WAITING: "active",
    SessionStatus.IDLE: "idle",
    SessionStatus.PARKED: "idle",
    SessionStatus.STRANDED: "idle",
    SessionStatus.ENDED: "terminated",
}
"""Poke's words for states; `state` beside them has the whole truth."""


class SummaryView(View):
    """A sentence for the chat."""

    summary = shown(fields.String, "What happened, in a sentence.")


class McpServer(Request):
    """One MCP server for the agent."""

    name = text("Its name; absent: its command or host.", max_length=64)
    type = text(
        "`stdio`, `sse` or `http`.", max_length=8, required=True, validate=validate.OneOf(["stdio", "sse", "http"])
    )
    command = text("stdio: the program.", max_length=4096)
    args = fields.List(Text(), metadata={"description": "stdio: its arguments."})
    env = fields.Dict(keys=Text(), values=Text(), metadata={"description": "stdio: added to its environment."})
    url = text("sse, http: where it is.", max_length=2048)
    headers = fields.Dict(keys=Text(), values=Text(), metadata={"description": "sse, http: sent with each request."})


class StartSession(Request):
    """A new session."""

    cwd = text("An existing folder the operator allows; absent: a new one.", max_length=4096)
    mcp_servers = fields.List(
        fields.Nested(McpServer),
        validate=validate.Length(max=50),
        data_key="mcpServers",
        metadata={"description": "MCP servers the agent gets."},
    )
    mode = text(
        "How freely it acts: `bypassPermissions` (where the operator allows it), `plan`, `acceptEdits`, `default` "
        "(asks; taken where absent).",
        max_length=20,
        validate=validate.OneOf(list(MODES)),
        load_default="default",
        data_key="permissionMode",
    )
    agent = taken(CreateSession, "agent", required=False, load_default=None)
    prompt = taken(CreateSession, "prompt")


class SessionStarted(SummaryView):
    """The new session."""

    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    status = shown(fields.String, "`started`: accepted; `get_session_info` tells when it is idle.")
    cwd = shown(fields.String, "The folder it works in; null: one of its own.", maybe=True)
    mode = shown(fields.String, "The mode in force.", data_key="permissionMode")


@tools.add(
    Shape(
        "Start a session",
        StartSession,
        SessionStarted,
        Scope.WRITE,
        {"cwd": "/srv/projects/app", "permissionMode": "plan"},
        ADDS,
    )
)
def start_session(asked: Asked) -> Told:
    """Start a coding agent in `cwd`, or in a new folder. A `cwd` the operator does not allow is refused, not replaced.

    Without `permissionMode` the agent asks before it acts; answer with `respond_to_permission`.
    """
    names = ("cwd", "agent", "prompt")
    body: dict[str, Any] = {name: asked.args[name] for name in names if asked.args.get(name) is not None}
    body["mode"] = MODES[asked.args["mode"]].value
    if servers := asked.args.get("mcp_servers"):
        body["mcp_servers"] = dict(_server(place, server) for place, server in enumerate(servers))
    told = start(asked, body)
    return {
        "summary": f"Started {told['session']} with {told['agent']}.",
        "session": told["session"],
        "status": "started",
        "cwd": told["cwd"],
        "mode": _WORDS[Mode(told["mode"])],
    }


def _server(place: int, server: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return server.get("name", f"server{place + 1}"), {key: value for key, value in server.items() if key != "name"}


class Ended(SummaryView):
    """The session that ends."""

    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    status = shown(fields.String, "`terminated`, or `terminating` while its processes are being stopped.")


@tools.add(Shape("End a session", OneSession, Ended, Scope.WRITE, {"sessionId": "ses_…"}, ENDS))
def terminate_session(asked: Asked) -> Told:
    """End a session at once, also one whose agent hangs; its files stay until `delete_workspace`. Safe to repeat."""
    return ended(sessions.terminate(asked.context, asked.caller, asked.session).session)


def ended(session: Session) -> Told:
    """What became of a session that was told to end."""
    status = "terminated" if session.status is SessionStatus.ENDED else "terminating"
    return {"summary": f"{session.id} is {status}.", "session": session.id, "status": status}


class InfoShown(View):
    """One session, in Poke's words."""

    id = shown(fields.String, "`ses_…`")
    status = shown(fields.String, "`active`, `idle` or `terminated`.")
    state = shown(fields.String, "The same in full: `starting`, `running`, `waiting`, `idle`, `parked`, …")
    mode = shown(fields.String, "Mode in force.", data_key="permissionMode")
    cwd = shown(fields.String, "The folder it works in; null: one of its own.", maybe=True)
    agent = shown(fields.String, "Its agent.")
    created_at = moment("When it was created.", data_key="createdAt")
    last_activity = shown(fields.String, "When its log last grew.", maybe=True, data_key="lastActivityAt")
    in_plan_mode = shown(fields.Boolean, "Whether it only plans.", data_key="inPlanMode")


def info(asked: Asked, session: Session) -> Told:
    """One session, as `InfoShown` dumps it."""
    mode = session.spec.mode
    return {
        "id": session.id,
        "status": _STATES[session.status],
        "state": session.status.value,
        "mode": _WORDS[mode],
        "cwd": cwd_of(session),
        "agent": session.spec.agent,
        "created_at": session.created_at,
        "last_activity": last_activity(asked, session),
        "in_plan_mode": mode is Mode.PLAN,
    }


class WhichSessions(Request):
    """Which page."""

    limit = whole("Most sessions of the answer.", at_least=1, at_most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = taken(PageQuery, "cursor")


class InfoList(SummaryView):
    """A page of sessions."""

    sessions = fields.List(fields.Nested(InfoShown), required=True, metadata={"description": "Sessions, newest first."})
    next_cursor = shown(fields.String, "Pass as `cursor` for more; null: none.", maybe=True, data_key="nextCursor")


@tools.add(Shape("List sessions", WhichSessions, InfoList, Scope.READ, {}))
def list_sessions(asked: Asked) -> Told:
    """Your sessions, newest first, terminated ones too."""
    found, onward = sessions.page(asked.context, asked.caller, **asked.args)
    told = [info(asked, seen.session) for seen in found]
    return {"summary": f"{len(told)} session(s).", "sessions": told, "next_cursor": onward}


class InfoOfOne(SummaryView):
    """One session."""

    session = fields.Nested(InfoShown, required=True, metadata={"description": "The session."})


@tools.add(Shape("Look at a session", OneSession, InfoOfOne, Scope.READ, {"sessionId": "ses_…"}))
def get_session_info(asked: Asked) -> Told:
    """State, mode and folder of one session."""
    told = info(asked, sessions.get(asked.context, asked.caller, asked.session).session)
    return {"summary": f"{told['id']} is {told['state']}.", "session": told}


class Nothing(Request):
    """No arguments."""


class PoolStats(SummaryView):
    """Room for sessions."""

    workers = shown(fields.Integer, "Workers that live.")
    capacity = shown(fields.Integer, "Sessions they may host at once.")
    active = shown(fields.Integer, "Sessions they host.")
    free = shown(fields.Integer, "Places left; a full worker parks an idle session to make one.")


@tools.add(Shape("Show room for sessions", Nothing, PoolStats, Scope.ADMIN, {}))
def get_pool_stats(asked: Asked) -> Told:
    """How many sessions the workers host and could host. Nothing is warmed up ahead, so there is no `warm` figure."""
    rows = [row for row in fleet.processes(asked.context) if row.role == "worker" and row.state == "live"]
    capacity, used = sum(row.capacity for row in rows), sum(row.used for row in rows)
    return {
        "summary": f"{used} of {capacity} places are taken.",
        "workers": len(rows),
        "capacity": capacity,
        "active": used,
        "free": max(0, capacity - used),
    }


class Done(SummaryView):
    """What was done."""

    status = shown(fields.String, "What was done, in Poke's word.")
    session = shown(fields.String, "`ses_…`", data_key="sessionId")


class AddServer(OneSession):
    """One MCP server."""

    name = text("Its name.", max_length=64, required=True)
    config = fields.Nested(McpServer, required=True, metadata={"description": "What it is."})


@tools.add(
    Shape(
        "Add an MCP server",
        AddServer,
        Done,
        Scope.WRITE,
        {"sessionId": "ses_…", "name": "docs", "config": {"type": "http", "url": "https://docs.example/mcp"}},
        ADDS,
    )
)
def add_mcp_server(asked: Asked) -> Told:
    """Always refused: agents learn of their MCP servers when they start. Give them to `start_session` instead."""
    sessions.get(asked.context, asked.caller, asked.session)
    raise Unsupported("A session's MCP servers are set when it starts: give mcpServers to start_session.")


class SetMode(OneSession):
    """A mode."""

    mode = text(
        "`bypassPermissions`, `plan`, `acceptEdits` or `default`.",
        max_length=20,
        required=True,
        validate=validate.OneOf(list(MODES)),
    )


class ModeSet(Done):
    """The mode in force."""

    mode = shown(fields.String, "Mode in force.")


@tools.add(Shape("Change the mode", SetMode, ModeSet, Scope.WRITE, {"sessionId": "ses_…", "mode": "plan"}, SETS))
def set_session_mode(asked: Asked) -> Told:
    """Change how freely the agent acts, in the order of your calls."""
    set_mode(asked, MODES[asked.args["mode"]])
    told = {"status": "mode_set", "session": asked.session, "mode": asked.args["mode"]}
    return {"summary": f"{asked.session} is in mode {asked.args['mode']}.", **told}


@tools.add(Shape("Enter plan mode", OneSession, Done, Scope.WRITE, {"sessionId": "ses_…"}, SETS))
def enter_plan_mode(asked: Asked) -> Told:
    """From now on the agent only plans; it proposes a plan for `approve_plan` or `modify_plan`."""
    set_mode(asked, Mode.PLAN)
    return {"summary": f"{asked.session} plans.", "status": "plan_mode_entered", "session": asked.session}
