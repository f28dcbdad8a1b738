"""Tools of Poke Orchestrator that answer the agent. Each ask must be of the session that is named."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from api.mcp.asks import answer, of_session
from api.mcp.fields import ref, session_ref, taken
from api.mcp.poke_sessions import Done, SummaryView
from api.mcp.sessions import OneSession
from api.mcp.tool import ADDS, Asked, Family, Shape, Told
from api.mcp.views import open_asks
from api.schemas.asks import MAX_WORDS, AnswerAsk
from api.schemas.fields import flag, shown, text
from shared.domain.ask import AskKind
from shared.domain.errors import InvalidField
from shared.domain.errors_mcp import NoOpenPlan
from shared.domain.ids import AskId
from shared.domain.json import JsonObject, JsonValue
from shared.domain.session import Mode
from shared.domain.tenant import Scope

tools = Family("poke asks")


class AnswerQuestion(OneSession):
    """An answer to a question."""

    ask = ref("The question, `ask_…`: `questionId` of the callback or webhook, or from `session_asks`.", "questionId")
    answer = text(
        "A label of the options, several with commas between where it takes several, or free text.",
        max_length=MAX_WORDS,
    )
    answers = taken(AnswerAsk, "answers")


@tools.add(
    Shape(
        "Answer a question",
        AnswerQuestion,
        Done,
        Scope.WRITE,
        {"sessionId": "ses_…", "questionId": "ask_…", "answer": "blue"},
        ADDS,
    )
)
def answer_question(asked: Asked) -> Told:
    """Answer a question of the agent; the first answer wins. Where it asks several at once, map each in `answers`."""
    ask = asked.id("ask", "ask", AskId)
    found = of_session(asked, ask, asked.session)
    said: JsonObject = {"answers": asked.args["answers"]} if "answers" in asked.args else _said(asked, found.data)
    answer(asked, ask, said, session=asked.session)
    return {"summary": "Answered.", "status": "answered", "session": asked.session}


def _said(asked: Asked, data: JsonObject) -> JsonObject:
    if "answer" not in asked.args:
        raise InvalidField("answer", "is missing")
    questions: Any = data.get("questions") or []
    if len(questions) != 1:
        asked_for = ", ".join(repr(one.get("question")) for one in questions)
        raise InvalidField("answers", f"must map each question to its answer: {asked_for}")
    (question,) = questions
    return {"answers": {question["question"]: chosen(question, asked.args["answer"])}}


def chosen(question: JsonObject, said: str) -> JsonValue:
    """The answer a text means: several labels where the question takes several and each part is one."""
    options: Any = question.get("options") or []
    labels = {option.get("label") for option in options}
    parts: list[JsonValue] = [part.strip() for part in said.split(",")]
    several = question.get("multi_select") is True and len(parts) > 1 and all(part in labels for part in parts)
    return parts if several else said


class RespondToPermission(OneSession):
    """A decision."""

    ask = ref("The permission, `ask_…`.", "permissionId")
    decision = taken(AnswerAsk, "decision", required=True)
    message = taken(AnswerAsk, "message")


class Responded(Done):
    """What was decided."""

    permission = shown(fields.String, "`ask_…`", data_key="permissionId")
    decision = shown(fields.String, "The decision.")


@tools.add(
    Shape(
        "Decide a permission",
        RespondToPermission,
        Responded,
        Scope.WRITE,
        {"sessionId": "ses_…", "permissionId": "ask_…", "decision": "allow"},
        ADDS,
    )
)
def respond_to_permission(asked: Asked) -> Told:
    """Allow the agent a tool once, for good, or deny it; the first answer wins. Ask your human before you allow."""
    said = {name: asked.args[name] for name in ("decision", "message") if name in asked.args}
    ask = asked.id("ask", "ask", AskId)
    answer(asked, ask, said, session=asked.session)
    told = {"session": asked.session, "permission": ask, "decision": said["decision"]}
    return {"summary": f"Decided: {said['decision']}.", "status": "responded", **told}


class ApprovePlan(OneSession):
    """Which plan."""

    accept_edits = flag("Go on in mode `acceptEdits`.", load_default=False, data_key="acceptEdits")


class PlanAnswered(SummaryView):
    """What became of the plan."""

    status = shown(fields.String, "`plan_approved` or `feedback_sent`.")
    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    ask = shown(fields.String, "The plan, `ask_…`", data_key="planId")


@tools.add(
    Shape("Approve the plan", ApprovePlan, PlanAnswered, Scope.WRITE, {"sessionId": "ses_…", "acceptEdits": True}, ADDS)
)
def approve_plan(asked: Asked) -> Told:
    """Approve the plan the session waits with; the agent goes on and carries it out."""
    said: JsonObject = {"verdict": "approve"}
    if asked.args["accept_edits"]:
        said["next_mode"] = Mode.ACCEPT_EDITS.value
    return _answer_plan(asked, said, "plan_approved")


class ModifyPlan(OneSession):
    """What should be different."""

    session = session_ref()
    feedback = taken(AnswerAsk, "feedback", required=True, allow_none=False)


@tools.add(
    Shape(
        "Send the plan back",
        ModifyPlan,
        PlanAnswered,
        Scope.WRITE,
        {"sessionId": "ses_…", "feedback": "Keep the old endpoint too"},
        ADDS,
    )
)
def modify_plan(asked: Asked) -> Told:
    """Send the plan back with what should be different; the agent plans on."""
    return _answer_plan(asked, {"verdict": "reject", "feedback": asked.args["feedback"]}, "feedback_sent")


def _answer_plan(asked: Asked, said: JsonObject, status: str) -> Told:
    waiting = [ask for ask in open_asks(asked, asked.session) if ask["kind"] == AskKind.PLAN.value]
    if not waiting:
        raise NoOpenPlan(asked.session)
    ask = waiting[0]["id"]
    answer(asked, ask, said, session=asked.session)
    return {"summary": f"Plan of {asked.session}: {status}.", "status": status, "session": asked.session, "ask": ask}
