"""Tools of Poke Orchestrator that do the same to up to ten sessions. One failure never harms another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from marshmallow import fields, validate

from api.mcp.poke_prompts import SendAPrompt
from api.mcp.poke_sessions import InfoShown, ended, info
from api.mcp.sessions import send
from api.mcp.tool import ADDS, ENDS, Asked, Family, Shape, Told
from api.schemas.fields import Request, Text, View, shown
from shared.domain.errors import CorralError, NotFound
from shared.domain.ids import SessionId, is_id
from shared.domain.tenant import Scope
from shared.operations import sessions

tools = Family("poke batches")

MOST: Final = 10

Each = Callable[[SessionId, Any], Told]


class ManyPrompts(Request):
    """Prompts."""

    prompts = fields.List(
        fields.Nested(SendAPrompt),
        required=True,
        validate=validate.Length(1, MOST),
        metadata={"description": "Sent in this order."},
    )


class ManySessions(Request):
    """Sessions."""

    session_ids = fields.List(
        Text(validate=validate.Length(1, 80)),
        required=True,
        validate=validate.Length(1, MOST),
        data_key="sessionIds",
        metadata={"description": "The sessions."},
    )


class ItemShown(View):
    """What came of one."""

    session = shown(fields.String, "The session.", data_key="sessionId")
    status = shown(fields.String, "What was done, or `error`.")
    error = fields.String(metadata={"description": "Why not: the problem's code and words."})


class Counts(View):
    """How many."""

    successful = shown(fields.Integer, "Done.")
    failed = shown(fields.Integer, "Not done.")
    total = shown(fields.Integer, "All.")


class ManyDone(View):
    """What came of each."""

    results = fields.List(
        fields.Nested(ItemShown), required=True, metadata={"description": "In the order of the call."}
    )
    summary = fields.Nested(Counts, required=True, metadata={"description": "How many."})


@tools.add(
    Shape(
        "Send several prompts",
        ManyPrompts,
        ManyDone,
        Scope.WRITE,
        {"prompts": [{"sessionId": "ses_…", "prompt": "Run the tests"}]},
        ADDS,
    )
)
def batch_send_prompts(asked: Asked) -> Told:
    """Send up to ten prompts. For more, or to wait for their ends, use the REST API's batches."""

    def one(session: SessionId, item: Any) -> Told:
        send(asked, session, item["prompt"])
        return {"status": "prompt_sent"}

    return _counted(_each([(item["session"], item) for item in asked.args["prompts"]], one))


@tools.add(
    Shape("End several sessions", ManySessions, ManyDone, Scope.WRITE, {"sessionIds": ["ses_…", "ses_…"]}, ENDS),
)
def batch_terminate_sessions(asked: Asked) -> Told:
    """End up to ten sessions, side by side: none waits for another's agent."""

    def one(session: SessionId, _: Any) -> Told:
        return {"status": ended(sessions.terminate(asked.context, asked.caller, session).session)["status"]}

    return _counted(_each([(name, None) for name in asked.args["session_ids"]], one))


class InfoItem(View):
    """One session, or that there is none."""

    session = shown(fields.String, "The session.", data_key="sessionId")
    status = shown(fields.String, "`success` or `not_found`.")
    info = fields.Nested(InfoShown, allow_none=True, metadata={"description": "The session; absent where not found."})


class FoundCounts(View):
    """How many."""

    found = shown(fields.Integer, "Found.")
    not_found = shown(fields.Integer, "Not found.", data_key="notFound")
    total = shown(fields.Integer, "All.")


class ManyInfos(View):
    """What is known of each."""

    results = fields.List(fields.Nested(InfoItem), required=True, metadata={"description": "In the order of the call."})
    summary = fields.Nested(FoundCounts, required=True, metadata={"description": "How many."})


@tools.add(Shape("Look at several sessions", ManySessions, ManyInfos, Scope.READ, {"sessionIds": ["ses_…"]}))
def batch_get_session_info(asked: Asked) -> Told:
    """State, mode and folder of up to ten sessions."""
    results: list[Told] = []
    for name in asked.args["session_ids"]:
        try:
            seen = sessions.get(asked.context, asked.caller, _session(name)).session
        except NotFound:
            results.append({"session": name, "status": "not_found"})
        else:
            results.append({"session": name, "status": "success", "info": info(asked, seen)})
    found = sum(result["status"] == "success" for result in results)
    return {
        "results": results,
        "summary": {"found": found, "not_found": len(results) - found, "total": len(results)},
    }


def _session(name: str) -> SessionId:
    if not is_id(name, "ses"):
        raise NotFound("session", name)
    return SessionId(name)


def _each(items: Sequence[tuple[str, Any]], do: Each) -> list[Told]:
    results: list[Told] = []
    for name, item in items:
        try:
            results.append({"session": name, **do(_session(name), item)})
        except CorralError as problem:
            results.append({"session": name, "status": "error", "error": f"{problem.code}: {problem.message}"})
    return results


def _counted(results: list[Told]) -> Told:
    failed = sum(result["status"] == "error" for result in results)
    counts = {"successful": len(results) - failed, "failed": failed, "total": len(results)}
    return {"results": results, "summary": counts}
