"""How a turn ended: `result` frames as `TurnEnd`, tokens and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.agents.claude import frames
from shared.agents.driver import ExitStatus, Prompt, TurnEnd
from shared.domain.json import JsonObject
from shared.domain.turn import TurnStatus
from shared.domain.usage import Usage

UNKNOWN_CONVERSATION = "unknown_conversation"
"""The stop_reason of a turn whose conversation the agent does not have."""
NO_CONVERSATION = "No conversation found with session ID"
MAX_ERROR_CHARS = 2048
MAX_STDERR_CHARS = 2048
_SELF_STOPPED = "The agent stopped the turn by itself and did not say why."

_FAILURES: Mapping[str, str] = {
    "error_max_turns": "max_turns",
    "error_max_budget_usd": "max_cost",
}
"""Stop reasons by the subtype of a failed result; any other failure is an `error`."""


@dataclass(slots=True)
class Running:
    """The prompt the agent works on."""

    prompt: Prompt
    uuid: str = ""
    """The name the prompt goes under; Claude Code's frames about its fate carry it."""
    tries: int = 0
    taken_up: bool = False
    """Claude Code has queued or started it."""
    interrupted: bool = False
    denied: bool = False
    """A human denied a tool and asked to stop."""
    over_cost: bool = False
    fate: str = ""
    """`completed` or `cancelled`, once the agent is done with the prompt."""
    result: JsonObject | None = None

    @property
    def was_skipped(self) -> bool:
        """Whether Claude Code took the prompt for one it has had already, under the same uuid."""
        return self.fate == "completed" and not self.taken_up and self.result is None and not self.interrupted

    def owns(self, result: JsonObject) -> bool:
        """Whether this result is the end of our prompt, not of work the agent took up by itself."""
        if not self.uuid:
            return False
        uuids = frames.strings(result, "user_message_uuids")
        # Releases before 2.1.3 do not say; there the absence of another origin has to do.
        return self.uuid in uuids if uuids else "origin" not in result


@dataclass(slots=True)
class Meter:
    """Tokens and cost since the last turn ended, the agent's unprompted work included."""

    total_usd: float | None
    """The agent's own running total; None where it is not known (a resumed conversation)."""
    usage: Usage | None = None
    cost_usd: float | None = None

    def add(self, result: JsonObject) -> JsonObject:
        """Count a result; gives the data of a `usage` event: the turn so far."""
        usage, cost = _spent(result, self.total_usd)
        self.total_usd = frames.number(result, "total_cost_usd")
        self.usage = usage = _sum(self.usage or Usage(), usage)
        if cost is not None:
            self.cost_usd = cost + (self.cost_usd or 0.0)
        return {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "cost_usd": self.cost_usd,
        }

    def take(self) -> tuple[Usage | None, float | None]:
        """What was counted since the last call; None where nothing was."""
        taken = self.usage, self.cost_usd
        self.usage, self.cost_usd = None, None
        return taken


def _spent(result: JsonObject, total_before: float | None) -> tuple[Usage, float | None]:
    if isinstance(result.get("model_usage_since_last_result"), dict):
        models = frames.obj(result, "model_usage_since_last_result").values()
        spent = [model for model in models if isinstance(model, dict)]
        usage = Usage()
        for model in spent:
            usage = _sum(usage, _model_usage(model))
        return usage, sum(max(frames.number(model, "costUSD") or 0.0, 0.0) for model in spent)
    # Releases before 2.1.3 tell their running total alone.
    usage, total = _turn_usage(frames.obj(result, "usage")), frames.number(result, "total_cost_usd")
    if total is None or total_before is None:
        return usage, None
    return usage, max(total - total_before, 0.0)


def _model_usage(model: JsonObject) -> Usage:
    return Usage(
        input_tokens=frames.count(model, "inputTokens"),
        output_tokens=frames.count(model, "outputTokens"),
        cache_read_tokens=frames.count(model, "cacheReadInputTokens"),
        cache_write_tokens=frames.count(model, "cacheCreationInputTokens"),
    )


def _turn_usage(usage: JsonObject) -> Usage:
    return Usage(
        input_tokens=frames.count(usage, "input_tokens"),
        output_tokens=frames.count(usage, "output_tokens"),
        cache_read_tokens=frames.count(usage, "cache_read_input_tokens"),
        cache_write_tokens=frames.count(usage, "cache_creation_input_tokens"),
    )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
    )


def ended(running: Running, meter: Meter) -> TurnEnd:
    """The end of a turn whose result, or whose fate, is known."""
    usage, cost = meter.take()
    result = running.result
    if result is not None and result.get("is_error") is not True:
        reason = frames.text(result, "stop_reason") or "end_turn"
        return TurnEnd(TurnStatus.COMPLETED, reason, frames.text(result, "result") or None, usage=usage, cost_usd=cost)
    if result is None and running.fate == "completed":
        # The agent took the prompt and had nothing to say, or its result was too long to read.
        return TurnEnd(TurnStatus.COMPLETED, "end_turn", usage=usage, cost_usd=cost)
    status, reason = _failure(running, result or {})
    error = _error_text(result or {}) or (_SELF_STOPPED if reason == "error" else None)
    return TurnEnd(status, reason, error=error, usage=usage, cost_usd=cost)


def _failure(running: Running, result: JsonObject) -> tuple[TurnStatus, str]:
    if running.over_cost:
        return TurnStatus.FAILED, "max_cost"
    if running.interrupted:
        return TurnStatus.CANCELLED, "interrupted"
    if running.denied and _is_abort(result):
        return TurnStatus.CANCELLED, "denied"
    return TurnStatus.FAILED, _FAILURES.get(frames.text(result, "subtype"), "error")


def _is_abort(result: JsonObject) -> bool:
    """Whether the agent says that it was stopped."""
    return frames.text(result, "terminal_reason").startswith("aborted")


def _error_text(result: JsonObject) -> str:
    """Why a result failed, in the agent's words; empty where it was merely stopped."""
    if _is_abort(result):
        # Its `errors` then hold a diagnostic for Claude Code's own developers.
        return ""
    return frames.cut("\n".join(frames.strings(result, "errors")) or frames.text(result, "result"), MAX_ERROR_CHARS)


def unknown_conversation(message: str) -> TurnEnd:
    """The end that `ClaudeDriver.is_stale` recognizes."""
    return TurnEnd(TurnStatus.FAILED, UNKNOWN_CONVERSATION, error=frames.cut(message, MAX_ERROR_CHARS))


def exited(running: Running, meter: Meter, status: ExitStatus) -> TurnEnd:
    """The end of a turn whose process is gone."""
    usage, cost = meter.take()
    how = f"was ended by signal {status.signal}" if status.signal is not None else f"exited with code {status.code}"
    tail = status.stderr_tail.strip()
    error = f"The agent {how}." + (f"\n{tail[-MAX_STDERR_CHARS:]}" if tail else "")
    turn_status = TurnStatus.CANCELLED if running.interrupted else TurnStatus.FAILED
    return TurnEnd(turn_status, "agent_exited", error=error, usage=usage, cost_usd=cost)
