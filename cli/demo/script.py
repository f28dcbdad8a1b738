"""Reads a prompt as a script for the demo agent: one step a line, or several with `;` between."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# A backslash keeps a semicolon from being one: `run echo a\; echo b`.
_SEPARATOR = re.compile(r"(?<!\\);|\n")


class ScriptError(Exception):
    """A step that cannot be understood; nothing of the script is carried out."""


class Arg(NamedTuple):
    """One argument of a word: its name in the help, how its text is read, and what stands for an absent one."""

    name: str
    read: Callable[[str], Any]
    default: Any = ...

    def usage(self) -> str:
        """How the help writes it."""
        return f"<{self.name}>" if self.default is ... else f"[{self.name}]"


class Word(NamedTuple):
    """One word of the language. `run` gets the turn and the arguments."""

    run: Callable[..., None]
    help: str
    args: tuple[Arg, ...] = ()


class Step(NamedTuple):
    """One step of a script, ready to run."""

    word: str
    values: tuple[Any, ...]


def parse(prompt: str, words: Mapping[str, Word]) -> list[Step] | None:
    """The steps in `prompt`, or None when its first word is none of ours: then it is a prompt for a friendly agent.

    Raises:
        ScriptError: a later step has an unknown word, or a step has bad arguments.
    """
    lines = [part.strip().replace("\\;", ";") for part in _SEPARATOR.split(prompt)]
    lines = [line for line in lines if line]
    if not lines or lines[0].split(None, 1)[0] not in words:
        return None
    return [_step(number, line, words) for number, line in enumerate(lines, start=1)]


def usage(name: str, word: Word) -> str:
    """`name` with its arguments, as the help writes it."""
    return " ".join([name, *(arg.usage() for arg in word.args)])


def _step(number: int, line: str, words: Mapping[str, Word]) -> Step:
    name, *others = line.split(None, 1)
    word = words.get(name)
    if word is None:
        raise ScriptError(f"step {number}: there is no word {name!r}; known: {', '.join(words)}")
    try:
        return Step(name, _values("".join(others), word.args))
    except ValueError as error:
        raise ScriptError(f"step {number}: {line!r}: {error}; write: {usage(name, word)}") from error


def _values(text: str, args: Sequence[Arg]) -> tuple[Any, ...]:
    if not args:
        if text:
            raise ValueError("takes no argument")
        return ()
    # The last argument takes the rest of the line, spaces and all.
    parts = text.split(None, len(args) - 1) if text else []
    given = [arg.read(part) for arg, part in zip(args, parts, strict=False)]
    missing = args[len(parts) :]
    for arg in missing:
        if arg.default is ...:
            raise ValueError(f"{arg.name} is missing")
    return (*given, *(arg.default for arg in missing))


# --- how arguments are read ---------------------------------------------------------------------------------


def line(text: str) -> str:
    r"""Text in which `\n` is a new line."""
    return text.replace("\\n", "\n")


def whole(text: str) -> int:
    """A whole number, zero or more."""
    number = int(text)
    if number < 0:
        raise ValueError(f"{text} is negative")
    return number


def decimal(text: str) -> float:
    """A number, zero or more."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text} is not a number from 0 up")
    return number
