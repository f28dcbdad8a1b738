"""What a prompt is on the wire."""

from __future__ import annotations

from enum import StrEnum

from marshmallow import validate

from api.schemas.fields import Request, choice, flag, text
from api.schemas.turns import MAX_PROMPT
from shared.domain.turn import WhenBusy


class Source(StrEnum):
    """Where a prompt may come from."""

    API = "api"
    MCP = "mcp"
    N8N = "n8n"
    SLACK = "slack"
    FEISHU = "feishu"
    EMAIL = "email"
    DASHBOARD = "dashboard"


NOT_BLANK = validate.Regexp(r"[\s\S]*\S", error="Must not be blank.")


class SendPrompt(Request):
    """A prompt for a session."""

    when_busy = choice(
        "What to do when a turn is in the way: wait in line, refuse with 409, interrupt the running turn and go next, "
        "or go into the running turn where the agent can (next in line where it does not take it).",
        WhenBusy,
        load_default=WhenBusy.QUEUE.value,
    )
    callback_url = text(
        "Gets the finished turn once: flat, signed with the tenant's callback secret, retried like any delivery.",
        max_length=2000,
        load_default=None,
        allow_none=True,
    )
    confirm = flag(
        "Stop at a checkpoint: the turn begins with an ask, and the prompt reaches an agent when somebody allows it. "
        "A text that begins with `confirm:` does the same.",
        load_default=False,
    )
    source = choice("Where the prompt came from; shown in the conversation.", Source, load_default=Source.API.value)
    # Last, because in a class body the name hides the maker of texts from then on.
    text = text("The prompt.", max_length=MAX_PROMPT, required=True, validate=NOT_BLANK)
