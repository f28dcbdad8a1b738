"""An ask: the agent waits for a human. Permission, question or plan, one form for all three."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.domain.errors import InvalidField
from shared.domain.ids import AskId, SessionId, TurnId
from shared.domain.json import JsonObject
from shared.domain.session import Mode

CORRALS_REF: Final = "corral:"
"""How the ref of an ask begins that is Corral's own. No agent may use such a one."""
NETWORK_REF: Final = f"{CORRALS_REF}network:"
"""The same of an ask whether the agent may reach a domain, which follows."""


class AskKind(StrEnum):
    """What is asked for."""

    PERMISSION = "permission"
    QUESTION = "question"
    PLAN = "plan"


class AskStatus(StrEnum):
    """Where an ask is. `answered` is accepted, `applied` has reached the agent, `lost` never will."""

    OPEN = "open"
    ANSWERED = "answered"
    APPLIED = "applied"
    LOST = "lost"
    EXPIRED = "expired"


ASK_MOVES: Mapping[AskStatus, frozenset[AskStatus]] = {
    AskStatus.OPEN: frozenset({AskStatus.ANSWERED, AskStatus.EXPIRED, AskStatus.LOST}),
    AskStatus.ANSWERED: frozenset({AskStatus.APPLIED, AskStatus.LOST}),
    AskStatus.APPLIED: frozenset(),
    AskStatus.LOST: frozenset(),
    AskStatus.EXPIRED: frozenset(),
}


class Verdict(StrEnum):
    """How a permission was decided."""

    ALLOW = "allow"
    ALLOW_ALWAYS = "allow_always"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class PermissionAnswer:
    """Decides a permission. `input` replaces the tool's input when allowed; `stop` also ends the turn when denied."""

    decision: Verdict
    message: str | None = None
    input: JsonObject | None = None
    stop: bool = False


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """Answers a question: question text to label(s) or free text. None declines."""

    answers: Mapping[str, str | list[str]] | None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """Approves a plan, or sends it back with feedback."""

    approve: bool
    feedback: str | None = None
    next_mode: Mode | None = None


Answer = PermissionAnswer | QuestionAnswer | PlanAnswer


@dataclass(frozen=True, slots=True)
class Ask:
    """One ask as stored."""

    id: AskId
    session: SessionId
    turn: TurnId | None
    kind: AskKind
    status: AskStatus
    ref: str
    """The agent's own name for the request, which only its driver reads; or that of a checkpoint."""
    data: JsonObject
    answer: JsonObject | None
    answered_by: str | None
    answered_via: str | None
    created_at: datetime
    expires_at: datetime | None
    resolved_at: datetime | None

    @property
    def is_checkpoint(self) -> bool:
        """Whether Corral itself asks, before a turn's prompt reaches any agent."""
        return self.turn is not None and self.ref == checkpoint_ref(self.turn)

    @property
    def is_network(self) -> bool:
        """Whether Corral itself asks, if the agent may reach a domain."""
        return self.ref.startswith(NETWORK_REF)


def checkpoint_ref(turn: TurnId) -> str:
    """The ref of the ask before `turn`; no agent can have it, since none learns the ids of its turns."""
    return f"checkpoint:{turn}"


def read_answer(kind: AskKind, said: JsonObject) -> Answer:
    """The answer that a JSON object means for an ask of `kind`; hosts read stored answers with it too.

    Raises:
        InvalidField: a field is missing, does not belong to this kind, or has a value it cannot have.
    """
    allowed = {
        AskKind.PERMISSION: {"decision", "message", "input", "stop"},
        AskKind.QUESTION: {"answers", "message"},
        AskKind.PLAN: {"verdict", "feedback", "next_mode"},
    }[kind]
    foreign = sorted(said.keys() - allowed)
    if foreign:
        raise InvalidField(foreign[0], f"does not belong to the answer of a {kind}; that has {sorted(allowed)}")
    match kind:
        case AskKind.PERMISSION:
            return _permission(said)
        case AskKind.QUESTION:
            return _question(said)
        case AskKind.PLAN:
            return _plan(said)


def _permission(said: JsonObject) -> PermissionAnswer:
    decision, changed, stop = said.get("decision"), said.get("input"), said.get("stop", False)
    if decision not in {one.value for one in Verdict}:
        raise InvalidField("decision", f"must be one of {', '.join(Verdict)}")
    if changed is not None and not isinstance(changed, dict):
        raise InvalidField("input", "must be an object")
    if not isinstance(stop, bool):
        raise InvalidField("stop", "must be true or false")
    if changed is not None and decision == Verdict.DENY:
        raise InvalidField("input", "is of no use when the tool is denied")
    if stop and decision != Verdict.DENY:
        raise InvalidField("stop", "is only for a denial")
    return PermissionAnswer(Verdict(str(decision)), _text(said, "message"), changed, stop)


def _question(said: JsonObject) -> QuestionAnswer:
    if "answers" not in said:
        raise InvalidField("answers", "is missing; map each question's text to an answer, or send null to decline")
    answers = said["answers"]
    if answers is None:
        return QuestionAnswer(None, _text(said, "message"))
    if not isinstance(answers, dict):
        raise InvalidField("answers", "must be an object of question text to answer")
    read: dict[str, str | list[str]] = {}
    for question, answer in answers.items():
        if isinstance(answer, str):
            read[question] = answer
        elif isinstance(answer, list) and all(isinstance(label, str) for label in answer):
            read[question] = [str(label) for label in answer]
        else:
            raise InvalidField(f"answers.{question}", "must be a text or a list of texts")
    return QuestionAnswer(read, _text(said, "message"))


def _plan(said: JsonObject) -> PlanAnswer:
    verdict, next_mode = said.get("verdict"), said.get("next_mode")
    if verdict not in {"approve", "reject"}:
        raise InvalidField("verdict", "must be approve or reject")
    if next_mode is not None and next_mode not in {one.value for one in Mode}:
        raise InvalidField("next_mode", f"must be one of {', '.join(Mode)}")
    if next_mode is not None and verdict == "reject":
        raise InvalidField("next_mode", "is only for an approved plan")
    mode = None if next_mode is None else Mode(str(next_mode))
    return PlanAnswer(verdict == "approve", _text(said, "feedback"), mode)


def _text(said: JsonObject, name: str) -> str | None:
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidField(name, "must be a text")
    return value
