"""External sessions on the wire: what a caller registers, what comes back, and the heartbeat."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.fields import Request, View, flag, line, mapping, moment, number, shown
from api.schemas.sessions import YEAR_S, SessionCreated, SessionWebhook

MAX_WAIT_S = 120.0


class RegisterExternal(Request):
    """An agent that somebody else runs, and whose reports are to be recorded."""

    agent = line("Name of the agent, for people and filters; any word.", max_length=64, load_default="claude")
    title = line("For people.", max_length=200, load_default=None, allow_none=True)
    metadata = mapping("Your own texts by name; lists filter by them.", max_keys=50, max_value=500, load_default=dict)
    folder = line(
        "Where it works, for people: Corral does not look there.", max_length=1000, load_default=None, allow_none=True
    )
    heartbeat_s = number(
        "A session that reports nothing for this long ends `heartbeat_lost`; 0: never. Absent: the server's default.",
        at_least=0,
        at_most=YEAR_S,
        load_default=None,
        allow_none=True,
    )
    remote_approval = flag("Whether permissions may be granted here while the agent's hook waits.", load_default=False)
    ask_timeout_s = number(
        "How long the hook is to wait for that; the settings of `corral hooks install` name it.",
        at_least=1,
        at_most=MAX_WAIT_S,
        load_default=60.0,
    )
    webhook = fields.Nested(
        SessionWebhook, load_default=None, metadata={"description": "Where the first session's events go."}
    )


class HookAccess(View):
    """How to report."""

    token = shown(fields.String, "`crh_…`, sent as `Authorization: Bearer`. Shown this once.")
    path = shown(fields.String, "Where reports go: `POST <path>/<event>`.")


class ExternalRegistered(SessionCreated):
    """A new external session, its webhook, and how to report to it."""

    hook = fields.Nested(HookAccess, required=True, metadata={"description": "How its agent reports."})


class Heartbeat(View):
    """A heartbeat was taken."""

    session_id = shown(fields.String, "`ses_…`")
    status = shown(fields.String, "Where the session is in its life.")
    lapses_at = moment("When it ends unless more is heard; null: never.", maybe=True)
