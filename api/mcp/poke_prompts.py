"""Tools of Poke Orchestrator that send prompts and commands, and cancel them."""

from __future__ import annotations

from marshmallow import fields

from api.mcp.fields import session_ref, taken
from api.mcp.poke_sessions import Done, SummaryView
from api.mcp.sessions import OneSession, send
from api.mcp.tool import ADDS, ENDS, Asked, Family, Shape, Told
from api.schemas.commands import SendCommand
from api.schemas.fields import Request, shown
from api.schemas.prompts import SendPrompt, Source
from shared.domain.tenant import Scope
from shared.operations import commands, turns
from shared.operations.commands import Command

tools = Family("poke prompts")


class SendAPrompt(Request):
    """A prompt."""

    session = session_ref()
    prompt = taken(SendPrompt, "text", "prompt")


class PromptSent(SummaryView):
    """What became of the prompt."""

    status = shown(fields.String, "`prompt_sent`.")
    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    turn = shown(fields.String, "`trn_…`", data_key="turnId")
    queue_position = shown(fields.Integer, "Prompts before it in the line.", maybe=True, data_key="queuePosition")


@tools.add(
    Shape(
        "Send a prompt", SendAPrompt, PromptSent, Scope.WRITE, {"sessionId": "ses_…", "prompt": "Run the tests"}, ADDS
    )
)
def send_prompt(asked: Asked) -> Told:
    """Send a prompt; a busy session takes it in line. Wait for what comes of it with `session_wait`."""
    turn = send(asked, asked.session, asked.args["prompt"])
    return {
        "summary": f"Sent to {asked.session}.",
        "status": "prompt_sent",
        "session": asked.session,
        "turn": turn["id"],
        "queue_position": turn["queue_position"],
    }


class SendACommand(OneSession):
    """A slash command."""

    session = session_ref()
    command = taken(SendCommand, "name", "command")
    args = taken(SendCommand, "args")


class CommandSent(PromptSent):
    """What became of the command."""

    command = shown(fields.String, "The command as one would type it.")


@tools.add(
    Shape(
        "Send a slash command",
        SendACommand,
        CommandSent,
        Scope.WRITE,
        {"sessionId": "ses_…", "command": "compact"},
        ADDS,
    )
)
def send_slash_command(asked: Asked) -> Told:
    """Have the agent carry out one of its own commands, in line behind the prompts that wait.

    One the agent lacks is refused; `agents_list` shows those it has.
    """
    command = Command(asked.args["command"].removeprefix("/"), asked.args["args"], Source.MCP.value)
    placed = commands.send(asked.context, asked.caller, asked.session, command)
    return {
        "summary": f"Sent {placed.turn.text} to {asked.session}.",
        "status": "command_sent",
        "session": asked.session,
        "turn": placed.turn.id,
        "queue_position": placed.queue_position,
        "command": placed.turn.text,
    }


@tools.add(Shape("Cancel the running prompt", OneSession, Done, Scope.WRITE, {"sessionId": "ses_…"}, ENDS))
def cancel_prompt(asked: Asked) -> Told:
    """Interrupt the prompt that runs now. The session lives on and takes the next one."""
    turns.cancel_running(asked.context, asked.caller, asked.session)
    return {"summary": f"Cancelling in {asked.session}.", "status": "cancelled", "session": asked.session}
