"""Plug-ins: each file is in its registry, each agent has recorded transcripts, and nobody else knows one by name."""

from __future__ import annotations

import ast

import pytest

from tests.house.tree import ROOT, Source, imported, rooms

# A room of plug-ins and what stands in it beside them.
ROOMS = {
    "shared/agents": {"driver", "jsonlines", "jsonrpc", "notices", "registry"},
    "shared/connectors": {"connector", "registry"},
    "shared/workspaces": {
        "kind",
        "local",
        "gitcmd",
        "copying",
        "volume",
        "opener",
        "writer",
        "archive",
        "room",
        "gitviews",
        "signed",
        "remote",
        "registry",
        "cloning",
        "existing",
        "gitreach",
        "github",
        "managed",
        "pulls",
        "mirrors",
        # The walls a worker chooses among.
        "bubblewrap",
        "landlock",
        "confine",
        "view",
    },
}
AGENT_ROOM = "shared/agents"


def _plug_ins(room: str) -> set[str]:
    """Names of the modules and packages of a room that are plug-ins."""
    inside = (source.name.removeprefix(f"{room}/") for source in rooms() if source.name.startswith(f"{room}/"))
    return {name.partition("/")[0].removesuffix(".py") for name in inside} - ROOMS[room] - {"__init__"}


def _agents_named_outside(sources: list[Source], agents: set[str]) -> list[str]:
    """Places that compare or match against an agent's name."""
    return [
        f"{source.name}:{node.lineno} {ast.unparse(node)}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Compare | ast.MatchValue)
        and any(isinstance(part, ast.Constant) and part.value in agents for part in ast.walk(node))
    ]


@pytest.mark.parametrize("room", [room for room in ROOMS if _plug_ins(room)])
def test_every_plug_in_stands_in_its_registry(room):
    (registry,) = [source for source in rooms() if source.name == f"{room}/registry.py"]
    package = room.replace("/", ".")
    known = {name.removeprefix(f"{package}.").partition(".")[0] for name, _ in imported(registry.tree)}

    assert not _plug_ins(room) - known


@pytest.mark.parametrize("agent", sorted(_plug_ins(AGENT_ROOM)))
def test_every_driver_owns_transcripts(agent):
    folder = ROOT / "tests/transcripts" / agent
    cases = [case for case in folder.iterdir() if case.is_dir()] if folder.is_dir() else []

    assert cases, f"record one under {folder.relative_to(ROOT)}/<case>/"
    assert not [case.name for case in cases if not (case / "provenance.md").is_file()], "say where they come from"


def test_only_its_own_driver_knows_an_agent_by_name():
    outside = [source for source in rooms() if not source.name.startswith((f"{AGENT_ROOM}/", "cli/"))]

    assert not _agents_named_outside(outside, _plug_ins(AGENT_ROOM))


@pytest.mark.parametrize("code", ['if agent == "claude": ...', 'match agent:\n    case "claude":\n        ...'])
def test_a_comparison_with_an_agents_name_is_seen(code):
    assert _agents_named_outside([Source("planted.py", code, ast.parse(code))], {"claude"})
