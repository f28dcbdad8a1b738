"""A session on the wire: what a caller sets, what it may change, what it sees."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.fields import (
    Moment,
    Request,
    Text,
    View,
    anything,
    choice,
    line,
    mapping,
    moment,
    number,
    shown,
    text,
    whole,
    words,
)
from api.schemas.paging import PageQuery, WaitQuery, list_of
from api.schemas.prompts import NOT_BLANK, Source
from api.schemas.turns import MAX_PROMPT, TurnView
from api.schemas.usage import UsageTotals
from shared.domain.budget import OnBudget
from shared.domain.session import Mode, OnWorkerLoss, SessionStatus

YEAR_S = 366 * 86400.0


class LimitsBody(Request):
    """Bounds of a session. Absent: the server's default; null: no bound."""

    idle_s = number(
        "An idle session's process ends after this long; the next prompt resumes it.",
        at_least=0,
        above=True,
        at_most=YEAR_S,
        allow_none=True,
    )
    lifetime_s = number(
        "The session ends this long after its creation.", at_least=0, above=True, at_most=YEAR_S, allow_none=True
    )
    turn_s = number(
        "A turn is interrupted after this long; waiting for a human does not count.",
        at_least=0,
        above=True,
        at_most=YEAR_S,
        allow_none=True,
    )
    max_cost_usd = number(
        "The session ends when its turns have cost this much.", at_least=0, above=True, at_most=1e9, allow_none=True
    )
    max_turns = whole("The session ends after this many turns.", at_least=1, at_most=1_000_000, allow_none=True)
    max_tokens = whole(
        "The session ends when its turns have used this many tokens, cached ones too.",
        at_least=1,
        at_most=10**12,
        allow_none=True,
    )


class StartLimitsBody(LimitsBody):
    """Bounds of a new session."""

    start_s = number(
        "A session no worker could take within this time ends `no_capacity`.",
        at_least=0,
        above=True,
        at_most=YEAR_S,
        allow_none=True,
    )


class WorkspaceBody(ma.Schema):
    """Where the agent works. Fields beside `kind` depend on it."""

    class Meta:
        """The kind checks its own fields."""

        unknown = ma.INCLUDE

    kind = line("Name of a workspace kind: `folder`, `git`, … (docs/workspaces.md).", max_length=64, required=True)


class SessionWebhook(Request):
    """An endpoint made with the session: it gets this session's events, from the first."""

    url = text("https://… (or http://… where the operator allows it).", max_length=2000, required=True)
    secret = text("`whsec_…` to sign with; made and shown once where absent.", max_length=200)
    events = fields.List(
        Text(validate=validate.Length(1, 64)),
        validate=validate.Length(max=64),
        metadata={"description": "Only these event types; absent: all."},
    )


class CreateSession(Request):
    """A new session, with or without its first prompt."""

    agent = line("Name of the agent; `GET /v1/agents` lists them.", max_length=64, required=True)
    workspace = fields.Nested(
        WorkspaceBody, load_default=None, metadata={"description": "Absent: a fresh folder, `{kind: folder}`."}
    )
    mode = choice("How freely the agent acts.", Mode, load_default=Mode.INTERACTIVE.value)
    prompt = text("The first prompt.", max_length=MAX_PROMPT, load_default=None, allow_none=True, validate=NOT_BLANK)
    source = choice("Where the prompt came from.", Source, load_default=Source.API.value)
    model = line(
        "Model, in the agent's words; absent: its default.", max_length=200, load_default=None, allow_none=True
    )
    agent_session_id = text(
        "Go on with a conversation begun outside of Corral: the agent's own id of it. Its transcript comes along, or "
        "lies where the operator lets workers look (`CORRAL_ATTACH_FOLDERS`).",
        max_length=128,
        load_default=None,
        allow_none=True,
        validate=validate.Regexp(
            r"[A-Za-z0-9][A-Za-z0-9_-]{7,127}\Z", error="Must be 8 to 128 letters, digits, - and _; no - or _ first."
        ),
    )
    transcript = fields.List(
        anything("One entry, as the agent wrote it."),
        load_default=list,
        metadata={"description": "That conversation's transcript: the objects of the agent's JSONL file, in order."},
    )
    title = line("For people.", max_length=200, load_default=None, allow_none=True)
    metadata = mapping("Your own texts by name; lists filter by them.", max_keys=50, max_value=500, load_default=dict)
    env = mapping(
        "Added to the agent's environment. Kept sealed, never shown.",
        max_keys=100,
        max_value=32 * 1024,
        key="[A-Za-z_][A-Za-z0-9_]{0,127}",
        load_default=dict,
    )
    mcp_servers = anything(
        "MCP servers by name, in the agent's form. Kept sealed, never shown.",
        values=fields.Dict(keys=Text()),
        validate=validate.Length(max=50),
        load_default=dict,
    )
    allowed_domains = fields.List(
        Text(validate=validate.Length(1, 253)),
        load_default=list,
        validate=validate.Length(max=200),
        metadata={"description": "Hosts the agent may reach. Refused where the workspace kind cannot enforce it."},
    )
    limits = fields.Nested(StartLimitsBody, load_default=dict, metadata={"description": "Bounds of the session."})
    webhook = fields.Nested(
        SessionWebhook, load_default=None, metadata={"description": "Where this session's events go."}
    )
    on_worker_loss = choice(
        "What becomes of the running turn when its worker is lost: it ends `interrupted`, or runs again.",
        OnWorkerLoss,
        load_default=OnWorkerLoss.INTERRUPT.value,
    )
    on_budget = choice(
        "What happens when `limits.max_cost_usd` or `limits.max_tokens` is reached: the session ends (`stop`), or its "
        "next prompt asks a human to lift the limit by a quarter of what it is (`ask`).",
        OnBudget,
        load_default=OnBudget.STOP.value,
    )
    ask_timeout_s = number(
        "An ask nobody answers is denied after this long; 0: never.", at_least=0, at_most=YEAR_S, load_default=300.0
    )


class ForkSession(Request):
    """How the new session differs from the one it begins with; absent fields are as there."""

    title = line("For people.", max_length=200, allow_none=True)
    metadata = mapping("Replaces all of them.", max_keys=50, max_value=500)
    mode = choice("How freely the agent acts.", Mode)
    model = line("Model, in the agent's words; null: its default.", max_length=200, allow_none=True)
    prompt = text("The first prompt.", max_length=MAX_PROMPT, load_default=None, allow_none=True, validate=NOT_BLANK)
    source = choice("Where the prompt came from.", Source, load_default=Source.API.value)


class PatchSession(Request):
    """What may change; absent fields stay."""

    title = line("For people.", max_length=200, allow_none=True)
    metadata = mapping("Replaces all of them.", max_keys=50, max_value=500)
    mode = choice("From the next moment the agent can take it.", Mode)
    model = line("From the next turn on; null: the agent's default.", max_length=200, allow_none=True)
    limits = fields.Nested(LimitsBody, metadata={"description": "Only the named bounds change."})


class WorkspaceView(View):
    """Where the agent works."""

    kind = shown(fields.String, "Name of the workspace kind.")
    spec = shown(fields.Dict, "What the kind was given, completed.")


class LimitsView(View):
    """Bounds in force; null: none."""

    idle_s = shown(fields.Float, "Idle time before the process is parked.", maybe=True)
    lifetime_s = shown(fields.Float, "Life of the session.", maybe=True)
    turn_s = shown(fields.Float, "Time of one turn.", maybe=True)
    max_cost_usd = shown(fields.Float, "Cost of all turns.", maybe=True)
    max_turns = shown(fields.Integer, "Number of turns.", maybe=True)
    max_tokens = shown(fields.Integer, "Tokens of all turns.", maybe=True)
    start_s = shown(fields.Float, "Time to find a worker.", maybe=True)


class WebhookMade(View):
    """The endpoint that was made with the session."""

    id = shown(fields.String, "`whk_…`")
    url = shown(fields.String, "Where it posts.")
    secret = shown(fields.String, "What signs it. Shown this once.")


class SessionView(View):
    """One session."""

    id = shown(fields.String, "`ses_…`")
    agent = shown(fields.String, "Its agent.")
    status = shown(
        fields.String,
        "Where it is in its life.",
        validate=validate.OneOf([one.value for one in SessionStatus]),
    )
    external = shown(fields.Boolean, "Somebody else runs its agent; it takes no prompts.")
    queue_position = shown(
        fields.Integer, "Sessions that wait for a worker before this one; null: it does not wait.", maybe=True
    )
    title = shown(fields.String, "For people.", maybe=True)
    metadata = shown(fields.Dict, "Your own texts by name.")
    workspace = fields.Nested(WorkspaceView, required=True, metadata={"description": "Where the agent works."})
    mode = shown(fields.String, "How freely the agent acts.")
    model = shown(fields.String, "The model that was asked for.", maybe=True)
    limits = fields.Nested(LimitsView, required=True, metadata={"description": "Bounds in force."})
    on_worker_loss = shown(fields.String, "What becomes of a running turn whose worker is lost.")
    on_budget = shown(fields.String, "What happens when the limit of cost or tokens is reached.")
    ask_timeout_s = shown(fields.Float, "Seconds an ask stays open; 0: for ever.")
    allowed_domains = shown(fields.List, "Hosts the agent may reach.", cls_or_instance=fields.String())
    version = shown(fields.Integer, "Counts changes; send it as `If-Match`.")
    worker = shown(fields.String, "Name of the worker that hosts it now.", maybe=True)
    agent_session_id = shown(fields.String, "The agent's own id of the conversation.", maybe=True)
    forked_from = shown(fields.String, "The session whose conversation and files it began with.", maybe=True)
    last_seq = shown(fields.Integer, "Number of its last event.")
    turns_started = shown(fields.Integer, "Turns that reached the agent.")
    cost_usd = shown(fields.Float, "Cost of all turns so far, as far as it is known.")
    usage = fields.Nested(UsageTotals, required=True, metadata={"description": "What its turns used so far."})
    created_at = moment("When it was created.")
    updated_at = moment("When a caller last changed it.")
    ended_at = moment("When it ended.", maybe=True)
    end_reason = shown(fields.String, "Why it ended: `terminated`, `no_capacity`, `agent_left`, …", maybe=True)
    end_detail = shown(fields.String, "More about it, for people.", maybe=True)


class SessionWithTurn(SessionView):
    """One session, and the turn that was asked for."""

    turn = fields.Nested(
        TurnView, required=True, allow_none=True, metadata={"description": "The turn; null where none was named."}
    )


class SessionCreated(SessionWithTurn):
    """A new session with its first turn and its webhook."""

    webhook = fields.Nested(
        WebhookMade, required=True, allow_none=True, metadata={"description": "The endpoint made with it."}
    )


SessionPage = list_of(SessionView, "sessions")


class SessionQuery(WaitQuery):
    """One session; with `wait_s` its next change of state."""

    turn = Text(
        load_default=None,
        validate=validate.Length(1, 80),
        metadata={"description": "Tell this turn of the session too; `wait_s` then waits for its end."},
    )


class SessionsQuery(PageQuery):
    """Which sessions, newest first. Also `metadata.<name>=<value>`, as often as you like."""

    status = words("Only sessions in these states.", SessionStatus)
    agent = line("Only sessions of this agent.", max_length=64, load_default=None)
    title = line("Only sessions with exactly this title.", max_length=200, load_default=None)
    created_after = Moment(
        load_default=None, metadata={"description": "Only sessions created after this moment (RFC 3339)."}
    )
    q = line("Only sessions whose title or id holds this text.", max_length=200, load_default=None)
    metadata = mapping("As `metadata.<name>=<value>`.", max_keys=10, max_value=500, load_default=dict)

    @ma.pre_load
    def gather_metadata(self, data: Any, **_: Any) -> dict[str, Any]:
        """`metadata.team=red` becomes `metadata: {team: red}`."""
        given = dict(data.items())
        found = {
            name.removeprefix("metadata."): given.pop(name) for name in list(given) if name.startswith("metadata.")
        }
        if "metadata" in given:
            raise ma.ValidationError("Write it as metadata.<name>=<value>.", "metadata")
        return {**given, "metadata": found} if found else given
