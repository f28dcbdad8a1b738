"""How a turn ended: stop reasons, tokens and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.agents import jsonlines
from shared.agents.acp.wishes import Wish
from shared.agents.driver import ExitStatus, TurnEnd
from shared.agents.jsonrpc import Failure
from shared.domain.json import JsonObject
from shared.domain.turn import TurnStatus
from shared.domain.usage import Usage

UNKNOWN_CONVERSATION = "unknown_conversation"
MAX_ERROR_CHARS = 2048

_ENDS: Mapping[str, tuple[TurnStatus, str]] = {
    "end_turn": (TurnStatus.COMPLETED, "end_turn"),
    "max_tokens": (TurnStatus.COMPLETED, "max_tokens"),
    "max_turn_requests": (TurnStatus.FAILED, "max_turns"),
    "refusal": (TurnStatus.FAILED, "refusal"),
    "cancelled": (TurnStatus.CANCELLED, "interrupted"),
}


@dataclass(slots=True)
class Running:
    """The prompt the agent works on."""

    text: str
    number: int
    is_sent: bool = False
    interrupted: bool = False
    denied: bool = False
    """A human denied a tool and asked to stop."""
    over_cost: bool = False

    def why_stopped(self) -> tuple[TurnStatus, str] | None:
        """How the turn ends whatever the agent says of it; None where nobody stopped it."""
        if self.over_cost:
            return TurnStatus.FAILED, "max_cost"
        if self.interrupted:
            return TurnStatus.CANCELLED, "interrupted"
        return (TurnStatus.CANCELLED, "denied") if self.denied else None


@dataclass(slots=True)
class Meter:
    """The cost of a turn, from a conversation's running total."""

    total_usd: float | None
    """None until it is known: a resumed conversation goes on counting where it was."""
    before_usd: float | None = None
    is_told: bool = False
    """Whether the agent tells costs at all."""

    def begin(self) -> None:
        """A turn begins."""
        self.before_usd = self.total_usd

    def told(self, update: JsonObject) -> None:
        """A `usage_update`."""
        cost = jsonlines.obj(update, "cost")
        amount = jsonlines.number(cost, "amount")
        if amount is not None and jsonlines.text(cost, "currency") in ("", "USD"):
            self.total_usd, self.is_told = max(amount, 0.0), True

    @property
    def spent_usd(self) -> float | None:
        """Cost of the turn so far."""
        if not self.is_told or self.total_usd is None or self.before_usd is None:
            return None
        return max(self.total_usd - self.before_usd, 0.0)


def usage_of(result: JsonObject) -> Usage | None:
    """The tokens of a turn, where the agent tells them."""
    usage = jsonlines.obj(result, "usage")
    if not usage:
        return None
    return Usage(
        input_tokens=jsonlines.count(usage, "inputTokens"),
        output_tokens=jsonlines.count(usage, "outputTokens"),
        cache_read_tokens=jsonlines.count(usage, "cachedReadTokens"),
        cache_write_tokens=jsonlines.count(usage, "cachedWriteTokens"),
    )


def usage_event(usage: Usage, cost_usd: float | None) -> JsonObject:
    """The data of a `usage` event."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cost_usd": cost_usd,
    }


def ended(running: Running, result: JsonObject, cost_usd: float | None) -> TurnEnd:
    """The end of a turn that the agent has answered."""
    reason = jsonlines.text(result, "stopReason") or "end_turn"
    status, why = running.why_stopped() or _ENDS.get(reason, (TurnStatus.COMPLETED, jsonlines.cut(reason, 80)))
    error = "The agent refused to go on." if why == "refusal" else None
    return TurnEnd(status, why, error=error, usage=usage_of(result), cost_usd=cost_usd)


def refused(running: Running, failure: Failure[Wish], cost_usd: float | None) -> TurnEnd:
    """The end of a turn whose prompt was answered with an error."""
    stopped = running.why_stopped()
    if stopped is not None:
        return TurnEnd(*stopped, cost_usd=cost_usd)
    message = failure.message or f"The agent answered with error {failure.code}."
    return failed(message, cost_usd=cost_usd)


def failed(message: str, *, reason: str = "error", cost_usd: float | None = None) -> TurnEnd:
    """The end of a turn that could not be."""
    return TurnEnd(TurnStatus.FAILED, reason, error=jsonlines.cut(message, MAX_ERROR_CHARS), cost_usd=cost_usd)


def exited(running: Running, status: ExitStatus, cost_usd: float | None) -> TurnEnd:
    """The end of a turn whose process is gone."""
    how = f"was ended by signal {status.signal}" if status.signal is not None else f"exited with code {status.code}"
    tail = status.stderr_tail.strip()[-MAX_ERROR_CHARS:]
    error = f"The agent {how}." + (f"\n{tail}" if tail else "")
    turn_status = TurnStatus.CANCELLED if running.interrupted else TurnStatus.FAILED
    return TurnEnd(turn_status, "agent_exited", error=error, cost_usd=cost_usd)
