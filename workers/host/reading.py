"""What a host reads from the store about one session. Blocking: for the SQL threads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.domain.ask import NETWORK_REF, Ask, AskStatus
from shared.domain.ids import AskId, SessionId, TurnId
from shared.domain.input import Input, InputKind
from shared.domain.session import Session
from shared.domain.turn import Turn, TurnStatus
from shared.domain.usage import Spent, Totals
from shared.store import asks, heads, inputs, sessions, transcripts, turns, usage
from shared.store.database import Database
from shared.store.heads import Head
from shared.store.sealing import Sealer
from workers.host import regular

INPUTS_AT_ONCE: Final = 200
MIRRORED_BYTES: Final = 64 * 1024 * 1024
"""A larger transcript file is not read back; what was mirrored while the agent ran is kept."""


@dataclass(frozen=True, slots=True)
class Known:
    """A session as its new host finds it."""

    session: Session
    head: Head
    left_turns: Sequence[Turn]
    """Turns somebody began and nobody ended."""
    left_asks: Sequence[Ask]
    left_spent: Mapping[TurnId, Spent]
    """What those turns had said to have used."""
    spent: Totals
    """What the turns before them used."""


@dataclass(frozen=True, slots=True)
class News:
    """What has come since input `done`, and the turn that is next in line."""

    inputs: Sequence[Input]
    next_turn: Turn | None

    @property
    def may_be_more(self) -> bool:
        """Whether not all inputs were read."""
        return len(self.inputs) >= INPUTS_AT_ONCE


def known(database: Database, sealer: Sealer, session: SessionId) -> Known | None:
    """All that is known of a session; None when it is gone."""
    with database.read() as connection:
        found, head = sessions.get_any(connection, session, sealer), heads.get(connection, session)
        if found is None or head is None:
            return None
        left = [turn for turn in turns.open_turns(connection, session) if turn.status is not TurnStatus.QUEUED]
        told = {turn.id: spent for turn in left if (spent := usage.told(connection, session, turn.id)) is not None}
        unresolved = asks.unresolved_of(connection, session)
        return Known(found, head, left, unresolved, told, usage.of_session(connection, session))


def news(database: Database, session: SessionId, done: int) -> News:
    """Inputs beyond `done`, and the line."""
    with database.read() as connection:
        fresh = inputs.after(connection, session, done, INPUTS_AT_ONCE)
        return News(fresh, turns.next_queued(connection, session))


def head(database: Database, session: SessionId) -> Head | None:
    """The head row."""
    with database.read() as connection:
        return heads.get(connection, session)


def has_stop(database: Database, session: SessionId, done: int) -> bool:
    """Whether the session was told to end and nobody has ended it."""
    with database.read() as connection:
        return any(one.kind is InputKind.STOP for one in inputs.after(connection, session, done, INPUTS_AT_ONCE))


def ask(database: Database, ref: AskId) -> Ask | None:
    """One ask, with its answer where there is one."""
    with database.read() as connection:
        return asks.get_any(connection, ref)


def unresolved_asks(database: Database, session: SessionId) -> Sequence[Ask]:
    """Asks that are open, or answered and not with whoever asked."""
    with database.read() as connection:
        return asks.unresolved_of(connection, session)


def network_answers(database: Database, session: SessionId) -> Sequence[Ask]:
    """What humans have said about domains its agent wanted to reach, oldest first."""
    with database.read() as connection:
        return asks.applied_of(connection, session, NETWORK_REF)


def is_let_go(database: Database, turn: Turn) -> bool:
    """Whether a human has allowed the turn at its checkpoint, before it was begun again."""
    with database.read() as connection:
        ask = asks.checkpoint_of(connection, turn.session, turn.id)
        return ask is not None and ask.status is AskStatus.APPLIED


def turn(database: Database, id: TurnId) -> Turn | None:
    """One turn."""
    with database.read() as connection:
        return turns.get_any(connection, id)


def open_turns(database: Database, session: SessionId) -> Sequence[Turn]:
    """All turns without a terminal event."""
    with database.read() as connection:
        return turns.open_turns(connection, session)


def transcript(database: Database, session: SessionId, conversation: str) -> list[str]:
    """The mirrored entries of one conversation."""
    with database.read() as connection:
        return transcripts.read(connection, session, conversation)


def unmirrored(files: Sequence[Path], mirrored: Sequence[str]) -> list[str]:
    """Entries of an agent's transcript files that were not mirrored while it ran."""
    seen = {_canonical(entry) for entry in mirrored}
    return [line for file in files for line in _lines(file) if _canonical(line) not in seen]


def _lines(file: Path) -> list[str]:
    text = (regular.content(file, MIRRORED_BYTES) or b"").decode("utf-8", "replace")
    # A last line without its newline was being written when the agent ended.
    return [line for line in text.split("\n")[:-1] if line.strip()]


def _canonical(entry: str) -> str:
    try:
        return json.dumps(json.loads(entry), sort_keys=True)
    except (ValueError, RecursionError):
        return entry
