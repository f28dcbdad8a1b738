"""How every error looks on the wire; the table of status numbers is `api/problems.py`."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.fields import View, shown


class FieldProblem(View):
    """One field that cannot be taken."""

    field = shown(fields.String, "Path of the field, parts joined by dots, e.g. `limits.turn_s`.")
    message = shown(fields.String, "What is wrong with it.")


class Problem(View):
    """RFC 9457 problem details. Decide by `code`; `detail` is for people and may change."""

    type = shown(fields.String, "Where this problem is documented, relative to the API.")
    title = shown(fields.String, "The code in words.")
    status = shown(fields.Integer, "The HTTP status.")
    detail = shown(fields.String, "What happened and how to mend it.")
    code = shown(fields.String, "Stable name of the problem, e.g. `session_ended`.")
    request_id = shown(fields.String, "Name this when you ask for help; also in `X-Request-Id`.")
    errors = fields.List(
        fields.Nested(FieldProblem),
        metadata={"description": "One entry per field that is wrong; absent where none is."},
    )
    details = fields.Dict(
        keys=fields.String(),
        metadata={
            "description": "Facts a program may use, e.g. `actual`, `first_seq`, `answered_by`; absent where none."
        },
    )
