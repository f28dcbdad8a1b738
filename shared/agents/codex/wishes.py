"""What we ask of Codex, so that its answers are known for what they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from shared.domain.ids import TurnId


class What(Enum):
    """What a request of ours is for."""

    INITIALIZE = "initialize"
    CONFIG = "config"
    THREAD = "thread"
    MODELS = "models"
    TURN = "turn"
    STEER = "steer"
    CLEAR = "clear"
    """A fresh thread in this one's place."""
    INTERRUPT = "interrupt"
    REASON = "reason"
    """Why something was denied, said into the running turn."""
    CLEAN = "clean"
    """End the commands that an interrupted turn has left running."""
    MIRROR = "mirror"


@dataclass(frozen=True, slots=True)
class Asked:
    """The purpose of a request."""

    what: What
    serial: int = 0
    """Of which start of a turn, so that a late answer does not concern the next."""
    turn: TurnId | None = None
    """Of a steer: the turn its text would be else."""
