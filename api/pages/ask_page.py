"""The page behind a link to an ask: what the agent asks, the ways to answer, or what became of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from api.pages.ask_form import DENIALS, Said, asked
from api.pages.page import Form, Option, Page, Panel, Question, visible
from api.pages.panels import MOST, Fact, facts_and_panels, size_of, text_panel
from shared.domain.ask import Ask, AskKind, AskStatus
from shared.domain.json import JsonObject
from shared.domain.link import Link
from shared.domain.session import Mode
from shared.operations.links import Visit

NOT_FOUND: Final = Page(
    title="No such link",
    heading="This link leads nowhere",
    lines=["It is incomplete, or what it was made for has been removed.", "Ask whoever sent it for a new one."],
)
TOO_MANY: Final = Page(
    title="Too many requests",
    heading="Too many requests",
    lines=["This link was opened too often in the last minute. Wait a moment and open it again."],
)
AWAY: Final = Page(
    title="Not now",
    heading="This cannot be answered right now",
    lines=["Nothing was changed. Open the link again in a moment."],
)
FOREIGN: Final = Page(
    title="Open the link itself",
    heading="This answer came from another page",
    lines=["Nothing was changed. Open the link itself and answer there."],
)

_MODES: Final[Mapping[Mode, Option]] = {
    Mode.INTERACTIVE: Option("Interactive", "It asks before each tool that may change something.", "interactive"),
    Mode.ACCEPT_EDITS: Option("Accept edits", "It edits files without asking, and asks for the rest.", "accept_edits"),
    Mode.BYPASS: Option("Bypass", "It asks nobody for anything.", "bypass"),
}
_SAME_MODE: Final = Option("As the agent has it", "Whatever its own rule is after a plan.", "")
_HEADINGS: Final = {
    AskKind.PERMISSION: "May the agent use {tool}?",
    AskKind.QUESTION: "The agent has a question",
    AskKind.PLAN: "The agent proposes a plan",
}
_TOO_LARGE: Final = "This is too large to be shown here, so it can only be denied here. Answer it over the API."


def ask_page(visit: Visit, secret: str, said: Said | None = None, problem: str = "") -> Page:
    """The open ask with its form; `said` and `problem` where an answer could not be taken."""
    ask = visit.ask
    is_whole = size_of(ask.data) <= MOST
    facts, panels = _shown(ask) if is_whole else ([], [])
    return Page(
        title=_heading(ask),
        heading=_heading(ask),
        where=_where(visit),
        lines=_lines(ask) if is_whole else [_TOO_LARGE],
        problem=problem,
        facts=facts,
        panels=panels,
        form=_form(visit, secret, said or Said(), is_whole=is_whole),
        end=_terms(visit.link),
    )


def outcome_page(visit: Visit, *, was_late: bool = False) -> Page:
    """What became of the ask, for a link that answers nothing any more."""
    lines = ["Your answer came too late and was not taken."] if was_late else []
    return Page(
        title="Answered" if visit.ask.answered_by else "Closed",
        heading=_outcome(visit),
        where=_where(visit),
        lines=[*lines, *_what_became(visit)],
        facts=_who(visit.ask),
    )


# --- an open ask ------------------------------------------------------------------------------------------------


def _heading(ask: Ask) -> str:
    if ask.is_checkpoint:
        return "Shall this prompt run?"
    return _HEADINGS[ask.kind].format(tool=visible(str(ask.data.get("tool_name") or "a tool")))


def _where(visit: Visit) -> str:
    spec = visit.session.spec
    return visible(f"{spec.agent} · {spec.title or visit.session.id}")


def _terms(link: Link) -> str:
    return f"You answer as “{visible(link.name)}”. This link answers once, until {_time(link.expires_at)}."


def _lines(ask: Ask) -> Sequence[str]:
    if ask.is_checkpoint:
        return ["It has not reached the agent yet."]
    words = ask.data.get("description") or ask.data.get("reason")
    return [f"The agent says: {visible(words)}"] if isinstance(words, str) and ask.kind is AskKind.PERMISSION else []


def _shown(ask: Ask) -> tuple[list[Fact], list[Panel]]:
    data = ask.data
    if ask.kind is AskKind.PLAN:
        return [], [text_panel("Plan", str(data.get("plan") or ""))]
    given, words = data.get("input"), data.get("description")
    if ask.is_checkpoint and isinstance(given, dict):
        return [], [text_panel("Prompt", str(given.get("text") or ""))]
    if ask.kind is AskKind.QUESTION or not isinstance(given, dict):
        return [], []
    # What the agent says of it is above already.
    return facts_and_panels({name: value for name, value in given.items() if (name, value) != ("description", words)})


def _form(visit: Visit, secret: str, said: Said, *, is_whole: bool) -> Form:
    ask = visit.ask
    no, message = DENIALS[ask.kind]
    form = Form(token=secret, yes=(), no=no, message=message, written=said.message)
    if not is_whole:
        return form
    return Form(
        token=secret,
        yes=_ways_on(visit),
        no=no,
        message=message,
        written=said.message,
        questions=_questions(ask.data, said) if ask.kind is AskKind.QUESTION else (),
        modes=_next_modes(visit) if ask.kind is AskKind.PLAN else (),
        mode=said.next_mode,
    )


def _ways_on(visit: Visit) -> Sequence[Option]:
    match visit.ask.kind:
        case AskKind.PERMISSION:
            always = [Option("Allow for the session", value="allow_always")] if visit.may_allow_always else []
            return [Option("Allow", value="allow"), *always]
        case AskKind.QUESTION:
            return [Option("Answer", value="answer")]
        case AskKind.PLAN:
            return [Option("Approve", value="approve")]


def _next_modes(visit: Visit) -> Sequence[Option]:
    offered = [option for mode, option in _MODES.items() if mode in visit.next_modes]
    return [_SAME_MODE, *offered] if offered else []


def _questions(data: JsonObject, said: Said) -> Sequence[Question]:
    return [
        Question(
            name=one.name,
            text=visible(one.text),
            header=visible(one.header),
            options=[Option(visible(label), visible(about)) for label, about in one.options],
            is_many=one.is_many,
            chosen=said.chosen.get(one.name, ()),
            written=said.texts.get(one.name, ""),
        )
        for one in asked(data)
    ]


# --- what became of it ------------------------------------------------------------------------------------------


def _outcome(visit: Visit) -> str:
    ask = visit.ask
    if ask.status is AskStatus.OPEN:
        return "This link has expired"
    if ask.status is AskStatus.EXPIRED:
        return "Nobody answered in time"
    if ask.answer is None:
        return "No answer is needed any more"
    return _verdict(ask.answer)


def _verdict(answer: JsonObject) -> str:
    words = {
        "allow": "Allowed",
        "allow_always": "Allowed for the session",
        "deny": "Denied",
        "approve": "Approved",
        "reject": "Sent back",
    }
    said = str(answer.get("decision") or answer.get("verdict") or "")
    return words.get(said) or ("Declined" if answer.get("answers") is None else "Answered")


def _what_became(visit: Visit) -> Sequence[str]:
    match visit.ask.status:
        case AskStatus.OPEN:
            return ["The agent still waits. Ask whoever sent this link for a new one."]
        case AskStatus.EXPIRED:
            return ["The agent was told no."]
        case AskStatus.ANSWERED:
            return ["The answer is on its way to the agent."]
        case AskStatus.APPLIED:
            return ["The agent has the answer."]
        case AskStatus.LOST:
            given = "The answer did not reach the agent" if visit.ask.answer else "Nobody answered"
            return [f"{given}: its turn ended first."]


def _who(ask: Ask) -> Sequence[Fact]:
    facts: list[Fact] = []
    if ask.answered_by is not None:
        facts.append(("By", visible(ask.answered_by)))
        facts.append(("Over", visible(ask.answered_via or "")))
    if ask.resolved_at is not None:
        facts.append(("At", _time(ask.resolved_at)))
    return facts


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
