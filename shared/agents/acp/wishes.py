"""What we asked the agent for: its answer brings the wish back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from shared.agents.jsonrpc import Peer
from shared.domain.session import Mode


@dataclass(frozen=True, slots=True)
class Open:
    """A step on the way to a conversation: `initialize`, `authenticate`, `new`, `resume`, `load`."""

    step: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt; the answer ends its turn. `number` tells it from those before."""

    number: int


@dataclass(frozen=True, slots=True)
class ChangeMode:
    """Another mode: ours, and the agent's name of it."""

    mode: Mode
    theirs: str


@dataclass(frozen=True, slots=True)
class ChangeModel:
    """Another model."""

    theirs: str


Wish: TypeAlias = Open | Turn | ChangeMode | ChangeModel
AcpPeer: TypeAlias = Peer[Wish]
