"""The checkout as the house rules see it: its files, and its Python parsed once."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "cli", "migrations", "shared", "workers")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: `name` is its path from the top, with forward slashes."""

    name: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@functools.cache
def files() -> tuple[str, ...]:
    """Every file git tracks or would track, that is, without what .gitignore names."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()}))


@functools.cache
def sources() -> tuple[Source, ...]:
    """Every Python file of the house, tests and bench included."""
    return tuple(read(name) for name in files() if name.endswith(".py"))


def rooms() -> tuple[Source, ...]:
    """The Python that ships."""
    return tuple(source for source in sources() if source.name.startswith(tuple(f"{room}/" for room in ROOMS)))


def checks() -> tuple[Source, ...]:
    """The Python that tests."""
    return tuple(source for source in sources() if source.name.startswith("tests/"))


def read(name: str) -> Source:
    text = (ROOT / name).read_text(encoding="utf-8")
    return Source(name, text, ast.parse(text, filename=name))


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module a tree imports, as `module` and `module.name`, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def used(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every dotted name a tree uses (`time.sleep`), imports included, with its line."""
    yield from imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            yield dotted, node.lineno


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            before = _dotted(value)
            return f"{before}.{attr}" if before else ""
        case _:
            return ""
