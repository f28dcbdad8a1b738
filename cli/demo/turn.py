"""One turn of the demo agent: what its words use to speak, call tools, wait and ask."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from cli.demo.agent import Agent
from cli.demo.wire import Frame, encode

USD_PER_INPUT_TOKEN = 3e-6
USD_PER_OUTPUT_TOKEN = 15e-6
CHARACTERS_PER_TOKEN = 4
FOREVER_S = 60.0
"""As long as one wait may be; whoever waits for longer waits again."""


class EndTurn(Exception):
    """The turn is over, in this way."""

    def __init__(self, status: str, stop_reason: str, error: str | None = None) -> None:
        super().__init__(stop_reason)
        self.status = status
        self.stop_reason = stop_reason
        self.error = error


class Tool:
    """One call of a tool; as a context it gives the result of a call that was broken off."""

    def __init__(self, turn: Turn, name: str, input: Frame) -> None:
        self.id = turn.next_id("call")
        self.name = name
        self.input = input
        self._turn = turn
        self._wire = turn.agent.wire
        self._started = time.monotonic()
        self._done = False

    def __enter__(self) -> Self:
        self._wire.say("tool_use", id=self.id, name=self.name, input=self.input)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._done and isinstance(error, EndTurn):
            self.done(f"The call was broken off: {error.stop_reason}.", is_error=True)

    def output(self, text: str) -> None:
        """A piece of output, while the tool works."""
        self._wire.say("tool_output", id=self.id, text=text, at_ns=time.time_ns())

    def done(self, output: str, *, is_error: bool = False) -> None:
        """The result; the first one counts."""
        if self._done:
            return
        self._done = True
        lasted_s = round(time.monotonic() - self._started, 6)
        self._wire.say("tool_result", id=self.id, output=output, is_error=is_error, duration_s=lasted_s)
        self._turn.count(output)


class Turn:
    """The running turn. Every method that waits raises `EndTurn` as soon as the host interrupts."""

    def __init__(self, agent: Agent, ref: object, prompt: str) -> None:
        self.agent = agent
        self.ref = ref
        self.prompt = prompt
        self.number = agent.memory.turns
        self.usage: tuple[int, int, float | None] | None = None
        """Input tokens, output tokens and cost, where the script sets them; a cost of None is not told."""
        self.last_byte = b"\n"
        """What follows the last frame of the turn."""
        self._written = 0
        self._ids = 0
        self._last_text: str | None = None

    def next_id(self, kind: str) -> str:
        """An id no other thing of this conversation has."""
        self._ids += 1
        return f"{kind}_{self.number}_{self._ids}"

    def count(self, text: str) -> None:
        """Let `text` count as output tokens."""
        self._written += len(text)

    # --- waiting ---

    def attend(self, timeout_s: float, others: Sequence[int] = ()) -> list[int]:
        """Hear the host for up to `timeout_s`, less when it or one of `others` speaks."""
        ready = self.agent.attend(timeout_s, others)
        if self.agent.interrupted:
            raise EndTurn("cancelled", "interrupted")
        return ready

    def pause(self, seconds: float) -> None:
        """Do nothing for `seconds`, with open ears."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.attend(min(left, FOREVER_S))
        self.attend(0)

    def wait_for_the_end(self) -> None:
        """Wait until the host interrupts or goes."""
        while not self.agent.wire.host_is_gone:
            self.attend(FOREVER_S)
        raise EndTurn("interrupted", "host_gone")

    # --- speaking ---

    def think(self, text: str) -> None:
        """Some reasoning."""
        self.agent.wire.say("thinking_delta", message_id=self.next_id("thought"), text=text)
        self.count(text)

    def message(self, text: str) -> None:
        """A text in one piece."""
        self.stream([text])

    def stream(self, pieces: Sequence[str], delay_s: float = 0.0) -> None:
        """A text piece by piece, `delay_s` apart, then whole. Broken off, what was said so far stands."""
        message_id = self.next_id("msg")
        said: list[str] = []
        try:
            for piece in pieces:
                if said:
                    self.pause(delay_s)
                self.agent.wire.say("text_delta", message_id=message_id, text=piece)
                said.append(piece)
        finally:
            if said:
                text = "".join(said)
                self.agent.wire.say("message", message_id=message_id, text=text)
                self._last_text = text
                self.count(text)

    # --- asking ---

    def ask(self, subtype: str, **fields: Any) -> Frame:
        """Ask a human through the host and wait for the answer."""
        agent = self.agent
        ref = self.next_id("ask")
        agent.awaited = ref
        agent.wire.say("control_request", request_id=ref, request={"subtype": subtype, **fields})
        try:
            while ref not in agent.answers:
                if agent.wire.host_is_gone:
                    raise EndTurn("interrupted", "host_gone")
                self.attend(FOREVER_S)
        except EndTurn as end:
            agent.wire.say("control_cancel", request_id=ref, reason=end.stop_reason)
            raise
        finally:
            agent.awaited = None
        return agent.answers.pop(ref)

    def permit(self, tool: Tool, description: str) -> bool:
        """Whether a human lets `tool` run; its input is then what they made of it. Denied, the result is given here."""
        agent = self.agent
        if agent.mode == "bypass" or tool.name in agent.always:
            return True
        answer = self.ask(
            "permission",
            tool_name=tool.name,
            input=tool.input,
            description=description,
            tool_use_id=tool.id,
            suggestions=[{"tool_name": tool.name}],
        )
        if answer.get("behavior") != "allow":
            self._denied(tool, answer)
            return False
        if answer.get("always"):
            agent.always.add(tool.name)
        if isinstance(changed := answer.get("updated_input"), dict):
            tool.input = changed
        return True

    def _denied(self, tool: Tool, answer: Frame) -> None:
        reason = str(answer.get("message") or "no reason given")
        tool.done(f"Denied: {reason}", is_error=True)
        if answer.get("stop"):
            raise EndTurn("cancelled", "denied")
        self.message(f"{tool.name} was denied: {reason}")

    def propose(self, plan: str) -> None:
        """Show `plan` and go on only when it is approved, in the mode the human chose."""
        answer = self.ask("plan", plan=plan)
        if answer.get("approve") is not True:
            feedback = str(answer.get("feedback") or "no feedback given")
            self.message(f"The plan was rejected: {feedback}")
            raise EndTurn("completed", "end_turn")
        wanted = answer.get("next_mode")
        stays = self.agent.mode if self.agent.mode != "plan" else "interactive"
        self.agent.change_mode(str(wanted or stays))
        self.message("The plan was approved.")

    def leave_plan_mode_for(self, name: str, input: Frame) -> None:
        """In plan mode nothing is touched: the call fails and becomes a plan; go on only when that is approved."""
        if self.agent.mode != "plan":
            return
        with Tool(self, name, input) as tool:
            tool.done("Plan mode: nothing is touched before a plan is approved.", is_error=True)
        self.propose("\n".join([f"1. Call {name}:", *(f"   - {key}: {value}" for key, value in input.items())]))

    # --- ending ---

    def finish(self, end: EndTurn) -> None:
        """Remember the answer, report usage and cost, and close the turn."""
        agent = self.agent
        agent.remember({"type": "assistant", "turn": self.number, "text": self._last_text or ""})
        usage = self.tell_usage()
        limit, cost_usd = agent.settings.max_turn_cost_usd, usage.get("cost_usd", 0.0)
        if limit is not None and cost_usd > limit and end.status == "completed":
            end = EndTurn("failed", "max_cost", f"the turn cost {cost_usd} USD, its limit is {limit} USD")
        if end.error is not None:
            agent.wire.say("error", code=end.stop_reason, message=end.error)
        result = self._result(end, usage)
        agent.wire.put(encode(result).removesuffix(b"\n") + self.last_byte)

    def tell_usage(self) -> Frame:
        """Say what the turn used so far; what was said."""
        tokens_in, tokens_out, cost_usd = self.usage or self._invented_usage()
        usage = {
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
        } | ({} if cost_usd is None else {"cost_usd": cost_usd})
        self.agent.wire.say("usage", **usage)
        return usage

    def _result(self, end: EndTurn, usage: Frame) -> Frame:
        return {
            "type": "result",
            "turn": self.ref,
            "status": end.status,
            "stop_reason": end.stop_reason,
            "text": self._last_text,
            "error": end.error,
            "usage": usage,
        }

    def _invented_usage(self) -> tuple[int, int, float]:
        tokens_in = -(-len(self.prompt) // CHARACTERS_PER_TOKEN)
        tokens_out = -(-self._written // CHARACTERS_PER_TOKEN)
        return tokens_in, tokens_out, round(tokens_in * USD_PER_INPUT_TOKEN + tokens_out * USD_PER_OUTPUT_TOKEN, 9)
