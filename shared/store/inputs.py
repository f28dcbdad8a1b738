"""Inputs of a session, numbered under its head's lock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from shared.domain.ids import SessionId
from shared.domain.input import Input, InputKind, Wish
from shared.store import heads
from shared.store.database import Connection
from shared.store.tables import inputs


def put(connection: Connection, wish: Wish, at: datetime) -> int | None:
    """Leave one input for the session's host; its number. None: the session has ended or is gone."""
    n = heads.next_input(connection, wish.session, at)
    if n is None:
        return None
    connection.execute(
        inputs.insert().values(
            session_id=wish.session,
            n=n,
            kind=wish.kind,
            turn_id=wish.turn,
            ask_id=wish.ask,
            data=wish.data,
            created_at=at,
        )
    )
    return n


def after(connection: Connection, session: SessionId, n: int, limit: int = 200) -> Sequence[Input]:
    """Inputs beyond number `n`, in order."""
    rows = connection.execute(
        sa.select(inputs).where(inputs.c.session_id == session, inputs.c.n > n).order_by(inputs.c.n).limit(limit)
    )
    return [
        Input(
            session=session,
            n=row.n,
            kind=InputKind(row.kind),
            turn=row.turn_id,
            ask=row.ask_id,
            data=row.data,
        )
        for row in rows
    ]
