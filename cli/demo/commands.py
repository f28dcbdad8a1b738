"""The demo agent's slash commands: each runs as a turn of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cli.demo.turn import Turn


def compact(turn: Turn, _args: str) -> None:
    """Keep only the beginning of each prompt so far."""
    agent = turn.agent
    before = agent.memory.tokens
    agent.remember({"type": "compact"})
    agent.wire.say("compacted", trigger="manual", tokens_before=before, tokens_after=agent.memory.tokens)


def clear(turn: Turn, _args: str) -> None:
    """Forget everything: the conversation goes on under another id."""
    turn.agent.forget()


def context(turn: Turn, _args: str) -> None:
    """Say how much is remembered."""
    memory = turn.agent.memory
    turn.message(f"I remember {len(memory.prompts)} prompts, {memory.tokens} tokens.")


def model(turn: Turn, args: str) -> None:
    """Say which model it plays, or play another."""
    if args:
        turn.agent.change_model(args)
    turn.message(f"My model is {turn.agent.model}.")


COMMANDS: Mapping[str, Callable[[Turn, str], None]] = {
    "clear": clear,
    "compact": compact,
    "context": context,
    "model": model,
}
