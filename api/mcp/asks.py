"""Tools that show what waits for a human, and answer it where the client can show no form."""

from __future__ import annotations

from marshmallow import fields

from api.mcp.fields import ref, taken
from api.mcp.tool import ADDS, Asked, Family, Shape, Told
from api.mcp.views import AskShown, open_asks
from api.schemas.asks import AnswerAsk
from api.schemas.asks import fields_of as ask_fields
from api.schemas.fields import Request, View
from shared.domain.ask import Ask
from shared.domain.errors import NotFound
from shared.domain.ids import AskId, SessionId, is_id
from shared.domain.json import JsonObject
from shared.domain.tenant import Scope
from shared.operations import asks

tools = Family("asks")

VIA = "mcp"


class WhichAsks(Request):
    """Whose asks."""

    session = ref("Only of this session; absent: of all of yours.", "sessionId", required=False)


class AskList(View):
    """What waits for a human."""

    asks = fields.List(fields.Nested(AskShown), required=True, metadata={"description": "Open asks, oldest first."})


@tools.add(Shape("List what waits for a human", WhichAsks, AskList, Scope.READ, {"sessionId": "ses_…"}))
def session_asks(asked: Asked) -> Told:
    """What agents wait for: permissions, questions and plans nobody has answered. Answer with `session_answer`."""
    wanted = None if asked.args["session"] is None else asked.session
    return {"asks": open_asks(asked, wanted)}


class AnswerAnAsk(Request):
    """An answer; which fields belong depends on the ask's kind."""

    ask = ref("The ask, `ask_…`.", "askId")
    decision = taken(AnswerAsk, "decision")
    message = taken(AnswerAsk, "message")
    input = taken(AnswerAsk, "input")
    stop = taken(AnswerAsk, "stop")
    answers = taken(AnswerAsk, "answers")
    verdict = taken(AnswerAsk, "verdict")
    feedback = taken(AnswerAsk, "feedback")
    next_mode = taken(AnswerAsk, "next_mode")


def answer(asked: Asked, ask: AskId, said: JsonObject, *, session: SessionId | None = None) -> Told:
    """Answer as `POST /v1/asks/{id}/answer` does; with `session` only an ask of that session.

    Raises:
        NotFound: no such ask, or another session's.
    """
    if session is not None:
        of_session(asked, ask, session)
    return ask_fields(asks.answer(asked.context, asked.caller, ask, said, via=VIA))


def found(asked: Asked, ask: str) -> Told:
    """One ask of the caller's tenant.

    Raises:
        NotFound: there is none.
    """
    if not is_id(ask, "ask"):
        raise NotFound("ask", ask[:80])
    return ask_fields(asks.get(asked.context, asked.caller, AskId(ask)))


def of_session(asked: Asked, ask: AskId, session: SessionId) -> Ask:
    """The ask, if it is that session's: an id alone must not reach into another conversation.

    Raises:
        NotFound: no such ask, or another session's.
    """
    found = asks.get(asked.context, asked.caller, ask)
    if found.session != session:
        raise NotFound("ask of this session", ask)
    return found


@tools.add(
    Shape(
        "Answer the agent",
        AnswerAnAsk,
        AskShown,
        Scope.WRITE,
        {"askId": "ask_…", "decision": "allow"},
        ADDS,
    )
)
def session_answer(asked: Asked) -> Told:
    """Answer an ask; the first answer wins. Ask your human before you allow anything for them.

    permission: `decision` (`allow`, `allow_always`, `deny`), with `message`, another `input`, or `stop`; question:
    `answers` maps each question's text to a label, a list of labels or free text (null declines); plan: `verdict`
    (`approve`, `reject`), with `feedback` or `nextMode`.
    """
    said = {name: value for name, value in asked.args.items() if name != "ask"}
    return answer(asked, asked.id("ask", "ask", AskId), said)
