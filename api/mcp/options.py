"""What the operator allows MCP clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.mcp.tool import Tool


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """Bounds of MCP in one API process; `hosts` and `origins` are allowed beside local ones."""

    tools: Mapping[str, Tool]
    agent: str
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    threads: int = 8
    streams: int = 200
    body_limit: int = 1024 * 1024
