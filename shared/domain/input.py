"""Inputs: everything a caller asks of a session, numbered under the head's lock so that nothing can swap."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.ids import AskId, SessionId, TurnId
from shared.domain.json import JsonObject


class InputKind(StrEnum):
    """What is asked of the session."""

    START = "start"
    """Bring the agent up without a prompt."""
    PROMPT = "prompt"
    """A turn was queued; `turn` names it."""
    STEER = "steer"
    """A turn was queued whose text shall go into the running turn; where it cannot, it waits in the line."""
    CANCEL = "cancel"
    """Interrupt `turn` (named when the cancel was accepted, so it never hits a later one)."""
    ANSWER = "answer"
    """`ask` was answered; the answer is in its row."""
    MODE = "mode"
    """`data.mode`: change how freely the agent acts."""
    MODEL = "model"
    """`data.model`."""
    LIMITS = "limits"
    """The limits in the session row changed."""
    STOP = "stop"
    """End the session. `data.remove_workspace`: also remove the workspace."""


@dataclass(frozen=True, slots=True)
class Input:
    """One stored input."""

    session: SessionId
    n: int
    kind: InputKind
    turn: TurnId | None
    ask: AskId | None
    data: JsonObject


@dataclass(frozen=True, slots=True)
class Wish:
    """An input that has no number yet."""

    session: SessionId
    kind: InputKind
    turn: TurnId | None = None
    ask: AskId | None = None
    data: JsonObject = field(default_factory=dict)
