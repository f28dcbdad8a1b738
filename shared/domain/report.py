"""What an agent that Corral does not host reports of itself, before it is events of a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.ask import Answer
from shared.domain.json import JsonObject
from shared.domain.turn import TurnStatus


@dataclass(frozen=True, slots=True)
class Started:
    """The agent is up. `data` is what else it told of that."""

    data: JsonObject


@dataclass(frozen=True, slots=True)
class Prompted:
    """Somebody gave it a prompt: a turn begins."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """It is about to call a tool."""

    tool_call_id: str
    name: str
    input: JsonObject


@dataclass(frozen=True, slots=True)
class Returned:
    """A tool has ended."""

    call: Called
    output: str
    is_error: bool
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """It would ask its user whether it may call a tool. `suggestions`: what allowing always would allow."""

    name: str
    input: JsonObject
    suggestions: list[JsonObject]


@dataclass(frozen=True, slots=True)
class Noticed:
    """Anything else worth telling: the data of a `notice`."""

    data: JsonObject


@dataclass(frozen=True, slots=True)
class Stopped:
    """Its turn is over. `text` is the last thing it said."""

    status: TurnStatus
    stop_reason: str
    text: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """The agent is gone."""

    detail: str | None


Fact = Started | Prompted | Called | Returned | Wanted | Noticed | Stopped | Left


@dataclass(frozen=True, slots=True)
class Report:
    """One report: the agent's own name for its conversation, where it told one, and what happened."""

    agent_session_id: str | None
    fact: Fact

    @property
    def begins(self) -> bool:
        """Whether a conversation may begin or go on with it; of one that has ended all else comes too late."""
        return isinstance(self.fact, Started | Prompted)


@dataclass(frozen=True, slots=True)
class ReportForm:
    """How one agent's reports are read and answered. Both are pure; `read` never fails on any object.

    `read` is given the name of the event and the report's body. `decide` renders what a human answered to a `Wanted`,
    with what was asked: `{tool_name, input, suggestions}`.
    """

    known: frozenset[str]
    """Names of the events that mean more than a notice."""
    read: Callable[[str, JsonObject], Report]
    decide: Callable[[Answer, JsonObject], JsonObject]
