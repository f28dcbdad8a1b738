"""How a turn ended: `turn/completed` as `TurnEnd`, and its tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from shared.agents import jsonlines
from shared.agents.codex import notices
from shared.agents.codex.wishes import What
from shared.agents.driver import Command, ExitStatus, Prompt, TurnEnd
from shared.domain.json import JsonObject
from shared.domain.turn import TurnStatus
from shared.domain.usage import Usage

UNKNOWN_CONVERSATION = "unknown_conversation"
"""The stop_reason of a turn whose conversation the agent does not have."""
MAX_STDERR_CHARS = 2048


class Phase(Enum):
    """How far a prompt is."""

    WAITING = "waiting"
    """Codex is not up yet."""
    STARTED = "started"
    """It was handed to Codex."""
    PLANNED = "planned"
    """Codex has proposed a plan and rests; a human judges it."""
    CLOSING = "closing"
    """Codex is done; what it left running and what it wrote down is being seen to."""


@dataclass(slots=True)
class Running:
    """The prompt Codex works on. One turn of ours may be several of Codex's: a plan, then its execution."""

    prompt: Prompt | Command
    phase: Phase = Phase.WAITING
    turn_id: str = ""
    """Codex's name for its own turn, once it is known."""
    interrupted: bool = False
    denied: bool = False
    """A human denied something and asked to stop."""
    plan_ref: str = ""
    """The ask about the proposed plan."""
    retries: int = 0
    said: str = ""
    """The last message, which is the result where nothing better is told."""
    diff: str = ""
    end: TurnEnd | None = None
    """What it will end with when everything is seen to."""
    awaited: set[What] = field(default_factory=set)
    """What is still to be seen to."""


@dataclass(slots=True)
class Meter:
    """Tokens of the running turn. Codex tells the conversation's total, and what its last request took."""

    total: Usage | None = None
    """As told last; None where nothing was yet."""
    before: Usage | None = None
    """The total when the turn began."""

    def begin(self) -> None:
        """A turn begins."""
        self.before = self.total

    def add(self, usage: JsonObject) -> JsonObject:
        """Take a count; gives the data of a `usage` event: the turn so far."""
        self.total = _usage(jsonlines.obj(usage, "total"))
        if self.before is None:
            # A resumed conversation goes on counting where it was, which nobody has told us.
            self.before = _less(self.total, _usage(jsonlines.obj(usage, "last")))
        spent = _less(self.total, self.before)
        return {name: getattr(spent, name) for name in Usage.__slots__}

    def spent(self) -> Usage | None:
        """What the turn took; None where nothing was told."""
        if self.total is None or self.before is None or self.total == self.before:
            return None
        return _less(self.total, self.before)


def _usage(counts: JsonObject) -> Usage:
    # Codex counts what came from the cache as input too; elsewhere in Corral it is apart.
    given, read, written = (
        jsonlines.count(counts, name) for name in ("inputTokens", "cachedInputTokens", "cacheWriteInputTokens")
    )
    return Usage(
        input_tokens=max(given - read - written, 0),
        output_tokens=jsonlines.count(counts, "outputTokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def _less(one: Usage, other: Usage) -> Usage:
    return Usage(**{name: max(getattr(one, name) - getattr(other, name), 0) for name in Usage.__slots__})


def ended(running: Running, turn: JsonObject) -> TurnEnd:
    """The end of a turn of which Codex says how it went. One it is silent about (its line was cut) is complete."""
    said = _last_message(turn) or running.said or None
    status = jsonlines.text(turn, "status")
    if running.interrupted or status == "interrupted":
        reason = "denied" if running.denied and not running.interrupted else "interrupted"
        return TurnEnd(TurnStatus.CANCELLED, reason)
    if status == "failed":
        return failed(jsonlines.obj(turn, "error"))
    return TurnEnd(TurnStatus.COMPLETED, "end_turn", said)


def _last_message(turn: JsonObject) -> str:
    texts = [
        jsonlines.text(item, "text")
        for item in jsonlines.objects(turn, "items")
        if jsonlines.text(item, "type") == "agentMessage"
    ]
    return texts[-1] if texts else ""


def failed(error: JsonObject) -> TurnEnd:
    """The end of a turn that Codex could not carry out."""
    return TurnEnd(TurnStatus.FAILED, "error", error=notices.message_of(error))


def unknown_conversation(message: str) -> TurnEnd:
    """The end that `CodexDriver.is_stale` recognizes."""
    error = jsonlines.cut(message, notices.MAX_MESSAGE_CHARS)
    return TurnEnd(TurnStatus.FAILED, UNKNOWN_CONVERSATION, error=error)


def exited(running: Running, status: ExitStatus, usage: Usage | None) -> TurnEnd:
    """The end of a turn whose process is gone."""
    if running.end is not None:
        return running.end
    how = f"was ended by signal {status.signal}" if status.signal is not None else f"exited with code {status.code}"
    tail = status.stderr_tail.strip()
    error = f"The agent {how}." + (f"\n{tail[-MAX_STDERR_CHARS:]}" if tail else "")
    turn_status = TurnStatus.CANCELLED if running.interrupted else TurnStatus.FAILED
    return TurnEnd(turn_status, "agent_exited", error=error, usage=usage)
