"""Slash commands: turns that are carried out by the agent itself. Only those it has are taken."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import UnsupportedCommand
from shared.domain.ids import SessionId
from shared.domain.tenant import Caller
from shared.domain.turn import command_text
from shared.operations import prompts
from shared.operations.context import Context
from shared.operations.prompts import Placed, Prompt
from shared.operations.transaction import Act, Once, carry_out
from shared.store import turns


@dataclass(frozen=True, slots=True)
class Command:
    """What a caller sends. `name` is without the slash."""

    name: str
    args: str = ""
    source: str = "api"


def send(
    context: Context, caller: Caller, session: SessionId, command: Command, *, once: Once[Placed] | None = None
) -> Placed:
    """Accept a command: it waits in line like a prompt and ends exactly once.

    Raises:
        NotFound: missing, or another tenant's.
        SessionEnded: it takes no more commands.
        UnsupportedCommand: the agent has no such command; the error names those it has.
        QueueFull: too many prompts wait already.
    """
    text = command_text(command.name, command.args)

    def effect(act: Act) -> Placed:
        act.lock_living(session)
        agent, abilities = prompts.abilities_of(act, session)
        if command.name not in abilities.commands:
            raise UnsupportedCommand(agent, command.name, ", ".join(sorted(abilities.commands)))
        turn = prompts.take(act, session, Prompt(text, source=command.source, command=command.name))
        return Placed(turn, turns.queue_position(act.connection, turn))

    return carry_out(context, caller, once, effect)
