"""Reports of external agents on the wire. Their bodies have the agent's own form, which its reader knows."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.external import MAX_WAIT_S
from api.schemas.fields import Request, Seconds, View, line


class HookBody(ma.Schema):
    """Whatever the agent posts."""

    class Meta:
        """The agent's reader takes what it knows."""

        unknown = ma.INCLUDE

    event_id = line(
        "Your own name for this report, where the agent gives none: it is taken once. As `Idempotency-Key`.",
        max_length=255,
        validate=validate.Regexp(r"[\x21-\x7e]+\Z"),
    )


class HookQuery(Request):
    """How long the reply may take."""

    wait_s = Seconds(
        load_default=0.0,
        validate=validate.Range(0, MAX_WAIT_S),
        metadata={
            "description": "How long your agent waits where it asks for a permission; absent: nobody is asked here."
        },
    )


class HookReply(View):
    """What the agent does with it; empty: it goes on as it would."""

    hookSpecificOutput = fields.Dict(  # noqa: N815 - Claude Code's own word
        metadata={"description": "The decision about a permission, in the agent's own form."}
    )
