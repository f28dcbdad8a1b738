"""What a Dockerfile says about the image, read without Docker: stages, environment, command, user."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage with everything it inherits from stages of this file, in order: (instruction, argument)."""

    name: str
    origin: str
    """The image it begins with, outside of this file."""
    lines: tuple[tuple[str, str], ...]

    def last(self, instruction: str) -> str | None:
        """The argument that holds at the end."""
        return next((argument for name, argument in reversed(self.lines) if name == instruction), None)

    def all(self, instruction: str) -> list[str]:
        return [argument for name, argument in self.lines if name == instruction]

    def argv(self, instruction: str) -> list[str]:
        """An argument in the exec form; the form with a shell is refused, since it swallows signals."""
        words: list[str] = json.loads(self.last(instruction) or "[]")
        return words

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets; `$PATH` and the like are left as they are."""
        pairs = (pair for argument in self.all("ENV") for pair in shlex.split(argument))
        return dict(pair.split("=", 1) for pair in pairs)


def read(path: Path) -> dict[str, Stage]:
    """The stages by name."""
    stages: dict[str, Stage] = {}
    current = Stage("", "", ())
    for instruction, argument in _instructions(path.read_text(encoding="utf-8")):
        if instruction == "FROM":
            origin, _, name = argument.partition(" AS ")
            parent = stages.get(origin)
            current = Stage(name, parent.origin if parent else origin, parent.lines if parent else ())
        else:
            current = Stage(current.name, current.origin, (*current.lines, (instruction, argument)))
        stages[current.name] = current
    return stages


def _instructions(text: str) -> list[tuple[str, str]]:
    without_comments = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    logical = re.sub(r"\\\n", " ", without_comments).splitlines()
    words = (line.strip().partition(" ") for line in logical if line.strip())
    return [(instruction.upper(), re.sub(r"\s+", " ", argument).strip()) for instruction, _, argument in words]
