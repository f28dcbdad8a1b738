"""What a slash command is on the wire."""

from __future__ import annotations

from api.schemas.fields import Request, choice, line, text
from api.schemas.prompts import Source

MAX_ARGS = 32 * 1024
"""Characters behind a command's name."""


class SendCommand(Request):
    """A slash command for a session's agent."""

    name = line(
        "Without the slash: `compact`, …; `GET /v1/agents` lists what an agent has.", max_length=64, required=True
    )
    args = text("What follows the name.", max_length=MAX_ARGS, min_length=0, load_default="")
    source = choice("Where it came from; shown in the conversation.", Source, load_default=Source.API.value)
