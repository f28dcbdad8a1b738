"""Tools that start, lead and end sessions, under the names of pokeclaw where it has one."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.mcp.fields import session_ref, taken, wait_ms
from api.mcp.tool import ADDS, ENDS, READS, SETS, Asked, Family, Shape, Told, Wait
from api.mcp.views import (
    OutputShown,
    SessionShown,
    TurnShown,
    has_open_turn,
    lines_so_far,
    newest_turn,
    output_fields,
    session_fields,
    turn_fields,
)
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from api.schemas.fields import Request, View, choice, flag, shown, text, whole
from api.schemas.paging import PageQuery
from api.schemas.prompts import SendPrompt, Source
from api.schemas.session_wish import wish_of
from api.schemas.sessions import CreateSession, PatchSession
from shared.domain.ids import SessionId
from shared.domain.session import Mode, SessionStatus
from shared.domain.tenant import Scope
from shared.domain.turn import WhenBusy
from shared.operations import prompts, session_changes, sessions, turns
from shared.operations.prompts import Prompt
from shared.operations.session_changes import SessionChange

tools = Family("sessions")

AGENT_NAMES = {"claude-code": "claude"}
"""What pokeclaw's clients call an agent."""
_MANY = 1000
"""Lines of one answer where the caller says nothing."""


class StartSession(Request):
    """A new session, with or without its first prompt."""

    agent = taken(CreateSession, "agent", required=False, load_default=None)
    cwd = text("An existing folder to work in, absolute, that the operator allows; absent: a new one.", max_length=4096)
    task = taken(CreateSession, "prompt", "task")
    mode = taken(CreateSession, "mode")
    model = taken(CreateSession, "model")
    title = taken(CreateSession, "title")
    metadata = taken(CreateSession, "metadata")
    mcp_servers = taken(CreateSession, "mcp_servers")
    wait = wait_ms("Wait up to this long for the first line of output.", default=1500)
    wait.data_key = "waitMs"


class SessionStarted(SessionShown):
    """A new session and its first lines."""

    turn = fields.Nested(
        TurnShown, required=True, allow_none=True, metadata={"description": "Its turn; null without a task."}
    )
    initial_output = shown(fields.String, "Its lines so far.", data_key="initialOutput")
    offset = shown(fields.Integer, "Pass as `since` to `session_wait`.")


def start(asked: Asked, body: dict[str, Any]) -> Told:
    """Start a session as `POST /v1/sessions` does; `body` is a request of that kind, `agent` and `cwd` as tools say."""
    named = body.pop("agent", None) or asked.agent
    cwd = body.pop("cwd", None)
    body["agent"] = AGENT_NAMES.get(named, named)
    if cwd is not None:
        # Tools have no word for it, and their users start one session after the other in a folder.
        body["workspace"] = {"kind": "folder", "path": cwd, "shared": True}
    loaded = CreateSession().load({**body, "source": Source.MCP.value})
    created = sessions.create(asked.context, asked.caller, wish_of(loaded))
    seen = created.seen
    turn = None if seen.turn is None else turn_fields(seen.turn, seen.turn_position)
    return {**session_fields(asked, seen.session), "turn": turn, "initial_output": "", "offset": 0}


def _started(asked: Asked, told: Told) -> Told:
    lines = output_fields(asked, told["session"], 0, _MANY)
    seen = sessions.get(asked.context, asked.caller, told["session"]).session
    now = {"turn": lines["turn"], "initial_output": lines["output"], "offset": lines["offset"]}
    return {**session_fields(asked, seen), **now}


def _has_begun(asked: Asked, told: Told) -> bool:
    if asked.args["task"] is None:
        return bool(told["status"] != SessionStatus.STARTING.value)
    # The prompt itself is a line; what is waited for is a word of the agent, or that there will be none.
    said = [line for line in told["initial_output"].splitlines() if not line.startswith(("> ", "[session]"))]
    return bool(said) or told["status"] == SessionStatus.ENDED.value


@tools.add(
    Shape(
        "Start a session",
        StartSession,
        SessionStarted,
        Scope.WRITE,
        {"agent": "claude", "task": "Fix the failing tests", "mode": "accept_edits"},
        ADDS,
        Wait(lambda args: args["wait"] / 1000, _started, _has_begun),
    )
)
def session_start(asked: Asked) -> Told:
    """Start a coding agent in a workspace, with a first task or without.

    Returns the session with its id and, within `waitMs`, its first lines. Follow it with `session_wait`; list agents
    with `agents_list`. A `cwd` outside the folders the operator allows is refused, never replaced.
    """
    names = ("agent", "cwd", "mode", "model", "title", "metadata", "mcp_servers")
    body = {name: asked.args[name] for name in names if asked.args.get(name) is not None}
    return start(asked, {**body, "prompt": asked.args["task"]})


class SendMessage(Request):
    """A prompt for a session."""

    session = session_ref()
    message = taken(SendPrompt, "text", "message")
    when_busy = taken(SendPrompt, "when_busy")


class MessageSent(View):
    """What became of the prompt."""

    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    status = shown(fields.String, "State of the turn: `queued` until the agent takes it.")
    turn_id = shown(fields.String, "`trn_…`", data_key="turnId")
    queue_position = shown(fields.Integer, "Prompts before it in the line.", maybe=True, data_key="queuePosition")
    output = shown(fields.String, "Always empty: what the prompt brings comes behind `offset`.")
    offset = shown(
        fields.Integer, "Pass as `since` to `session_wait`; null: a long log is still being counted.", maybe=True
    )


def send(asked: Asked, session: SessionId, said: str, when_busy: WhenBusy = WhenBusy.QUEUE) -> Told:
    """Send a prompt as `POST /v1/sessions/{id}/prompts` does."""
    placed = prompts.send(asked.context, asked.caller, session, Prompt(said, when_busy, source=Source.MCP.value))
    return turn_fields(placed.turn, placed.queue_position)


@tools.add(
    Shape(
        "Send a prompt",
        SendMessage,
        MessageSent,
        Scope.WRITE,
        {"sessionId": "ses_…", "message": "Now add a test for it"},
        ADDS,
    )
)
def session_send(asked: Asked) -> Told:
    """Send a prompt to a session of any agent; a busy session takes it in line, one after the other.

    Returns at once with the turn and the `offset` to wait behind. `whenBusy`: `queue`, `reject`, `interrupt` (stop the
    running turn and go next) or `steer` (into the running turn, where the agent can).
    """
    before = lines_so_far(asked, asked.session)
    turn = send(asked, asked.session, asked.args["message"], WhenBusy(asked.args["when_busy"]))
    told = {"session": asked.session, "turn_id": turn["id"], "output": "", "offset": before and before.total}
    return {**turn, **told}


class ReadOutput(Request):
    """Which lines."""

    session = session_ref()
    since = whole("Number of lines you have: `offset` of the answer before.", at_least=0, at_most=2**53, load_default=0)
    lines = whole("Most lines of the answer.", at_least=1, at_most=10_000, load_default=_MANY, data_key="maxLines")


@tools.add(
    Shape("Read output", ReadOutput, OutputShown, Scope.READ, {"sessionId": "ses_…", "since": 120}),
)
def session_output(asked: Asked) -> Told:
    """Lines of a session from number `since` on, at once; reading removes nothing.

    Offsets are absolute: they go on counting when old lines are dropped, and `dropped` tells how many of those you
    asked for are gone. To wait for the next line use `session_wait`.
    """
    return output_fields(asked, asked.session, asked.args["since"], asked.args["lines"])


class WaitForOutput(ReadOutput):
    """What to wait for."""

    timeout = whole("Longest wait, ms.", at_least=0, at_most=120_000, load_default=30_000, data_key="timeoutMs")
    until = text(
        "`output`: the next line behind `since`; `turn`: all prompts are done or a human is needed.",
        max_length=10,
        validate=validate.OneOf(["output", "turn"]),
        load_default="output",
    )
    ask_human = flag(
        "Show asks to the human at this client, where it can; false: return them to you.",
        load_default=True,
        data_key="askHuman",
    )


def _is_over(asked: Asked, told: Told) -> bool:
    if told["done"] or told["asks"]:
        return True
    if asked.args["until"] == "output":
        return bool(told["output"])
    return told["status"] == SessionStatus.ENDED.value or not has_open_turn(asked, told["session"])


@tools.add(
    Shape(
        "Wait for output",
        WaitForOutput,
        OutputShown,
        Scope.READ,
        {"sessionId": "ses_…", "since": 120, "timeoutMs": 30000, "until": "turn"},
        READS,
        Wait(
            lambda args: args["timeout"] / 1000,
            lambda asked, _: session_output_now(asked),
            _is_over,
            lambda args: bool(args["ask_human"]),
        ),
    )
)
def session_wait(asked: Asked) -> Told:
    """Wait until a session says something (or is done), and return the lines from `since` on.

    Wakes at once; after `timeoutMs` it returns what there is, and you call again with `offset`. Where the agent waits
    for a human, `asks` is not empty: a client that can is shown them, else answer with `session_answer`.
    """
    return session_output_now(asked)


def session_output_now(asked: Asked) -> Told:
    """What `session_wait` would answer now."""
    return output_fields(asked, asked.session, asked.args["since"], asked.args["lines"])


class ListSessions(Request):
    """Which sessions, newest first."""

    status = fields.List(
        choice("One state.", SessionStatus), load_default=list, metadata={"description": "Only in these states."}
    )
    limit = whole("Most sessions of the answer.", at_least=1, at_most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = taken(PageQuery, "cursor")


class SessionList(View):
    """A page of sessions."""

    sessions = fields.List(
        fields.Nested(SessionShown), required=True, metadata={"description": "Sessions, newest first."}
    )
    next_cursor = shown(fields.String, "Pass as `cursor` for more; null: none.", maybe=True, data_key="nextCursor")


@tools.add(Shape("List sessions", ListSessions, SessionList, Scope.READ, {"status": ["running", "waiting"]}))
def session_list(asked: Asked) -> Told:
    """Your sessions, newest first, ended ones too until retention removes them. Filter with `status`."""
    status = [SessionStatus(word) for word in asked.args["status"]]
    found, onward = sessions.page(
        asked.context, asked.caller, status=status, limit=asked.args["limit"], cursor=asked.args["cursor"]
    )
    return {"sessions": [session_fields(asked, seen.session) for seen in found], "next_cursor": onward}


class OneSession(Request):
    """One session."""

    session = session_ref()


class EndSession(OneSession):
    """Which session ends."""

    wait = wait_ms("Wait up to this long until its processes are gone.", default=10_000)
    wait.data_key = "waitMs"


def _now(asked: Asked, _: Told) -> Told:
    return session_fields(asked, sessions.get(asked.context, asked.caller, asked.session).session)


@tools.add(
    Shape(
        "End a session",
        EndSession,
        SessionShown,
        Scope.WRITE,
        {"sessionId": "ses_…"},
        ENDS,
        Wait(lambda args: args["wait"] / 1000, _now, lambda _, told: told["status"] == SessionStatus.ENDED.value),
    )
)
def session_kill(asked: Asked) -> Told:
    """End a session: open turns are cancelled, the agent's whole process tree is stopped, its files stay.

    `status` is `ended` once that has happened, also when it takes longer than `waitMs`. Safe to repeat.
    """
    seen = sessions.terminate(asked.context, asked.caller, asked.session)
    return session_fields(asked, seen.session)


class SessionDetail(SessionShown):
    """One session and its newest turn."""

    turn = fields.Nested(
        TurnShown, required=True, allow_none=True, metadata={"description": "The newest turn; null before the first."}
    )


@tools.add(Shape("Look at a session", OneSession, SessionDetail, Scope.READ, {"sessionId": "ses_…"}))
def session_get(asked: Asked) -> Told:
    """One session: its state, cost and newest turn with the agent's last word."""
    return {**_now(asked, {}), "turn": newest_turn(asked, asked.session)}


@tools.add(Shape("Cancel the running prompt", OneSession, TurnShown, Scope.WRITE, {"sessionId": "ses_…"}, ENDS))
def session_cancel(asked: Asked) -> Told:
    """Interrupt the turn that runs now; what it did stays, and the session takes the next prompt."""
    placed = turns.cancel_running(asked.context, asked.caller, asked.session)
    return turn_fields(placed.turn, placed.queue_position)


class SetMode(OneSession):
    """How freely the agent acts from now on."""

    mode = taken(PatchSession, "mode", required=True)


@tools.add(
    Shape("Change the mode", SetMode, SessionShown, Scope.WRITE, {"sessionId": "ses_…", "mode": "plan"}, SETS),
)
def session_mode(asked: Asked) -> Told:
    """Change how freely the agent acts: `interactive` asks, `accept_edits` edits freely, `plan` only plans,
    `bypass` asks nobody (where the operator allows it). In the order of your calls, so a prompt after it has the mode.
    """
    return set_mode(asked, Mode(asked.args["mode"]))


def set_mode(asked: Asked, mode: Mode) -> Told:
    """Change the mode as `PATCH /v1/sessions/{id}` does."""
    seen = session_changes.change(asked.context, asked.caller, asked.session, SessionChange(mode=mode))
    return session_fields(asked, seen.session)
