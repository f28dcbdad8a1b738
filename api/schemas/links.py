"""A link to an ask on the wire."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.fields import Request, View, line, moment, number, shown


class MakeLink(Request):
    """A link that answers one ask without a key."""

    name = line("For whom it is; told as `answered_by`.", max_length=200)
    expires_s = number(
        "For how long it may be used; never longer than the ask waits. Left out: as long as the ask waits, or a day.",
        at_least=1,
        at_most=30 * 24 * 3600,
    )


class LinkView(View):
    """A link. Its address is shown here and never again: whoever has it can answer."""

    ask_id = shown(fields.String, "What it answers.")
    url = shown(fields.String, "A page for people, `…/a/<token>`.")
    name = shown(fields.String, "Told as `answered_by`.")
    expires_at = moment("Until when it may be used.")
