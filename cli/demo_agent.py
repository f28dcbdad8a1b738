"""`corral-demo-agent`: an agent without a model, spoken to over stdin and stdout like any other.

It streams, calls tools, writes real files, asks, plans and remembers; a prompt can be a script that says what it
does. `docs/agents/demo.md` describes its protocol, which is also an example for an agent of one's own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from cli.demo import friendly
from cli.demo.agent import DEFAULT_MODEL, MODES, VERSION, Agent, Settings
from cli.demo.commands import COMMANDS
from cli.demo.memory import Memory, is_session_id
from cli.demo.script import ScriptError, Step, parse
from cli.demo.turn import FOREVER_S, EndTurn, Turn
from cli.demo.wire import Frame, Wire
from cli.demo.words import WORDS, listed

FOLDER = ".corral-demo"
"""Under HOME: one transcript a conversation."""

HELP = """\
corral-demo-agent speaks JSON lines over stdin and stdout; see docs/agents/demo.md.

  --session-id=<id>          start a conversation under this id (random where absent)
  --resume=<id>              go on with a conversation whose transcript is under $HOME/.corral-demo; with
                             --session-id go on with a copy of it under that id
  --mode=<mode>              interactive (default), accept_edits, plan or bypass
  --model=<name>             a name it answers to
  --allow-bypass             take a change to bypass mode
  --max-turn-cost-usd=<n>    fail a turn that reports more
  --version, --help

A prompt whose first word is one of these (in lower case) is a script: one step a line, or `;` between steps
(`\\;` is a semicolon, `\\n` in a text a new line). Any other prompt gets a friendly answer and a hello.md.

"""


class UsageError(Exception):
    """The command line cannot be understood."""


def main() -> None:
    """Be an agent until the host closes stdin or says so."""
    argv = sys.argv[1:]
    if "--help" in argv:
        sys.stdout.write(f"{HELP}{listed()}\n")
        return
    if "--version" in argv:
        sys.stdout.write(f"corral-demo-agent {VERSION}\n")
        return
    try:
        agent = make_agent(options(argv))
    except (UsageError, OSError) as error:
        sys.stderr.write(f"corral-demo-agent: {error}. See corral-demo-agent --help.\n")
        sys.exit(2)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    try:
        code = serve(agent)
    except OSError as error:
        sys.stderr.write(f"corral-demo-agent: cannot go on: {error}. Is there room under {os.environ.get('HOME')}?\n")
        code = 1
    sys.exit(code)


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def options(argv: Sequence[str]) -> dict[str, str]:
    """The options in `argv`, by name.

    Raises:
        UsageError: an argument is unknown or lacks its value.
    """
    known = {"--session-id", "--resume", "--mode", "--model", "--max-turn-cost-usd"}
    given: dict[str, str] = {}
    for argument in argv:
        name, equals, value = argument.partition("=")
        if argument == "--allow-bypass":
            given[name] = "yes"
        elif name not in known:
            raise UsageError(f"there is no option {name!r}")
        elif not equals or not value:
            raise UsageError(f"{name} needs a value, as in {name}=…")
        else:
            given[name] = value
    return given


def make_agent(given: dict[str, str]) -> Agent:
    """An agent as `given` says, its memory opened.

    Raises:
        UsageError: an option has a value that cannot be taken.
        OSError: HOME cannot be written.
    """
    resumed, settings = given.get("--resume"), _settings(given)
    session_id = given.get("--session-id") or resumed or f"demo-{os.urandom(8).hex()}"
    if not is_session_id(session_id) and session_id != resumed:
        raise UsageError(f"{session_id!r} is no session id; letters, digits, - and _ make one")
    folder = Path(os.environ.get("HOME") or ".") / FOLDER
    memory = Memory(folder, session_id)
    if resumed is None:
        memory.start()
        return Agent(Wire(), memory, settings)
    known = Memory(folder, resumed)
    known.resume()
    agent = Agent(Wire(), known if session_id == resumed else memory, settings, unknown=not known.resumed)
    if agent.memory is memory and known.resumed:
        agent.copy(known)
    return agent


def _settings(given: dict[str, str]) -> Settings:
    mode = given.get("--mode", "interactive")
    allow_bypass = "--allow-bypass" in given
    if mode not in MODES:
        raise UsageError(f"there is no mode {mode!r}; known: {', '.join(MODES)}")
    if mode == "bypass" and not allow_bypass:
        raise UsageError("--mode=bypass needs --allow-bypass")
    limit = given.get("--max-turn-cost-usd")
    try:
        return Settings(mode, given.get("--model", DEFAULT_MODEL), allow_bypass, float(limit) if limit else None)
    except ValueError as error:
        raise UsageError(f"--max-turn-cost-usd={limit} is not a number") from error


def serve(agent: Agent) -> int:
    """Take one prompt after the other; gives the exit code."""
    if not agent.unknown and not agent.memory.resumed:
        agent.remember({"type": "session", "session_id": agent.memory.session_id})
    while agent.exit_code is None:
        if agent.prompts:
            take_turn(agent, agent.prompts.popleft())
        elif (frame := agent.wire.take()) is not None:
            # One by one: an interrupt behind a prompt belongs to that prompt's turn.
            agent.hear(frame)
        elif agent.wire.host_is_gone:
            return 0
        else:
            agent.wire.listen(FOREVER_S)
    return agent.exit_code


def take_turn(agent: Agent, frame: Frame) -> None:
    """Run the turn that `frame` asks for, to its one result."""
    if agent.unknown:
        _fail_unknown(agent, frame.get("turn"))
        return
    number = agent.memory.turns + 1
    if frame.get("type") == "command":
        prompt, work = str(frame.get("args") or ""), _obeying(str(frame.get("name")))
        agent.remember({"type": "command", "turn": number, "name": frame.get("name"), "args": prompt})
    else:
        prompt, work = str(frame.get("text") or ""), _work
        agent.remember({"type": "user", "turn": number, "text": prompt})
    agent.in_turn, agent.interrupted, agent.deaf = True, False, False
    agent.steers.clear()
    turn = Turn(agent, frame.get("turn"), prompt)
    try:
        end = work(turn)
    finally:
        agent.in_turn = False
    turn.finish(end)


def _obeying(name: str) -> Callable[[Turn], EndTurn]:
    def obey(turn: Turn) -> EndTurn:
        command = COMMANDS.get(name)
        if command is None:
            known = ", ".join(sorted(COMMANDS))
            return EndTurn("failed", "unsupported_command", f"there is no command {name!r}; known: {known}")
        command(turn, turn.prompt)
        return EndTurn("completed", "end_turn")

    return obey


def _work(turn: Turn) -> EndTurn:
    try:
        steps = parse(turn.prompt, WORDS)
        if steps is None:
            friendly.answer(turn)
        waiting = deque(steps or ())
        while waiting or turn.agent.steers:
            waiting.extendleft(reversed(_steered(turn)))
            if waiting:
                step = waiting.popleft()
                turn.attend(0)
                WORDS[step.word].run(turn, *step.values)
    except ScriptError as error:
        return EndTurn("failed", "error", str(error))
    except EndTurn as end:
        return end
    return EndTurn("completed", "end_turn")


def _steered(turn: Turn) -> Sequence[Step]:
    """The steps of what the turn was told meanwhile; words of no script are said back."""
    steps: list[Step] = []
    while turn.agent.steers:
        text = turn.agent.steers.popleft()
        turn.agent.remember({"type": "steer", "turn": turn.number, "text": text})
        steps += parse(text, WORDS) or [Step("say", (f"You steer me: {text}",))]
    return steps


def _fail_unknown(agent: Agent, ref: object) -> None:
    # As Claude Code does: said on both pipes, and the process leaves.
    message = f"No conversation found with session ID: {agent.memory.session_id}"
    sys.stderr.write(f"{message}\n")
    agent.wire.say("error", code="unknown_conversation", message=message)
    agent.wire.say("result", turn=ref, status="failed", stop_reason="unknown_conversation", error=message, text=None)
    agent.exit_code = 1


if __name__ == "__main__":
    main()
