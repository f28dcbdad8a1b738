"""What the demo agent does with a prompt that is no script: a little of everything, and a real file."""

from __future__ import annotations

from cli.demo.talk import show_todo
from cli.demo.tools import append
from cli.demo.turn import Turn

FILE = "hello.md"
QUOTE_CHARACTERS = 400
PAUSE_S = 0.03
HINT = "`corral-demo-agent --help` tells what else I can do."


def answer(turn: Turn) -> None:
    """Think, plan, write `hello.md`, and say so. In plan mode the file waits for an approved plan."""
    items = ["Read the prompt", f"Write {FILE}", "Say what was done"]
    turn.think("A friendly prompt. I will greet, write a file and report.")
    show_todo(turn, items, 0)
    turn.stream(_greeting(turn), PAUSE_S)
    show_todo(turn, items, 1)
    append(turn, FILE, f"# Hello, turn {turn.number}\n\n> {_quoted(turn.prompt)}\n")
    show_todo(turn, items, 2)
    turn.stream(["I wrote your words ", f"“{_quoted(turn.prompt)}” ", f"to {FILE}. ", HINT], PAUSE_S)
    show_todo(turn, items, 3)


def _greeting(turn: Turn) -> list[str]:
    pieces = ["Hello! ", "I am Corral's demo agent: ", "no model, no key. ", "You said: ", f"“{_quoted(turn.prompt)}”"]
    if turn.number > 1:
        first = turn.agent.memory.prompts[0]
        pieces += [" I remember that you began with ", f"“{_quoted(first)}”."]
    return pieces


def _quoted(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= QUOTE_CHARACTERS else f"{flat[:QUOTE_CHARACTERS]}…"
