"""Which tools are shown: families by name, as the operator chose. A new module of tools is declared here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from api.mcp import agents, asks, files, poke_asks, poke_batches, poke_files, poke_prompts, poke_sessions, sessions
from api.mcp.tool import Tool

_OWN: Final = {**sessions.tools.tools, **asks.tools.tools, **files.tools.tools, **agents.tools.tools}
_POKECLAW: Final = (
    "session_start",
    "session_send",
    "session_output",
    "session_wait",
    "session_list",
    "session_kill",
    "read_file",
    "list_directory",
)
_POKE_MODULES: Final = (poke_sessions, poke_prompts, poke_asks, poke_files, poke_batches)
_POKE: Final = dict(chain.from_iterable(module.tools.tools.items() for module in _POKE_MODULES))

FAMILIES: Final[Mapping[str, Mapping[str, Tool]]] = {
    "corral": _OWN,
    "pokeclaw": {name: _OWN[name] for name in _POKECLAW},
    "poke": _POKE,
}
"""`corral` is a superset of `pokeclaw` under the same names."""


def chosen(words: Sequence[str]) -> dict[str, Tool]:
    """The tools of these families, or of these names, in a fixed order so that clients may cache the list.

    Raises:
        ValueError: a word is neither.
    """
    known = {name: tool for family in FAMILIES.values() for name, tool in family.items()}
    wanted: set[str] = set()
    for word in words:
        if word not in FAMILIES and word not in known:
            msg = f"there is no tool or family {word!r}; families: {', '.join(FAMILIES)}"
            raise ValueError(msg)
        wanted |= set(FAMILIES.get(word, {word}))
    return {name: tool for name, tool in known.items() if name in wanted}
