"""Asks on the wire, and the answers to the three kinds of them."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.schemas.fields import Request, View, anything, choice, flag, moment, shown, text, words
from api.schemas.paging import PageQuery, list_of
from shared.domain.ask import Ask, AskKind, AskStatus, Verdict
from shared.domain.session import Mode

MAX_WORDS = 64 * 1024


class AskView(View):
    """The agent waits for a human."""

    id = shown(fields.String, "`ask_…`")
    session_id = shown(fields.String, "Its session.")
    turn_id = shown(fields.String, "The turn that waits.", maybe=True)
    kind = shown(fields.String, "What is asked for.", validate=validate.OneOf([one.value for one in AskKind]))
    status = shown(
        fields.String,
        "`answered`: accepted; `applied`: it has reached the agent; `lost`: it never will; `expired`: nobody answered.",
        validate=validate.OneOf([one.value for one in AskStatus]),
    )
    data = shown(
        fields.Dict,
        "permission: `tool_name, input, …`; question: `questions: [{question, options, multi_select}]`; plan: `plan`.",
    )
    answer = shown(fields.Dict, "What was answered.", maybe=True)
    answered_by = shown(fields.String, "Name of the key that answered first.", maybe=True)
    answered_via = shown(fields.String, "How the answer came: `api`, `slack`, …", maybe=True)
    created_at = moment("When the agent asked.")
    expires_at = moment("When it is denied if nobody answers.", maybe=True)
    resolved_at = moment("When it was closed.", maybe=True)


AskPage = list_of(AskView, "asks")


class AsksQuery(PageQuery):
    """Which asks, newest first."""

    status = words("Only asks in these states.", AskStatus)


class AnswerAsk(Request):
    """An answer; which fields belong depends on the ask's kind."""

    decision = choice("permission: may the tool run?", Verdict)
    message = text("permission, question: a word to the agent.", max_length=MAX_WORDS, allow_none=True)
    input = anything("permission: run the tool with this input instead.", allow_none=True)
    stop = flag("permission: when denied, also end the turn.")
    answers = anything(
        "question: each question's text with a label, a list of labels, or free text; null declines.",
        allow_none=True,
    )
    verdict = text("plan: `approve` or `reject`.", max_length=16, validate=validate.OneOf(["approve", "reject"]))
    feedback = text("plan: what should be different.", max_length=MAX_WORDS, allow_none=True)
    next_mode = choice("plan: the mode to go on in when approved.", Mode, allow_none=True)


def fields_of(ask: Ask) -> dict[str, Any]:
    """One ask, as `AskView` dumps it."""
    return {
        "id": ask.id,
        "session_id": ask.session,
        "turn_id": ask.turn,
        "kind": ask.kind.value,
        "status": ask.status.value,
        "data": ask.data,
        "answer": ask.answer,
        "answered_by": ask.answered_by,
        "answered_via": ask.answered_via,
        "created_at": ask.created_at,
        "expires_at": ask.expires_at,
        "resolved_at": ask.resolved_at,
    }
