"""INSERT with ON CONFLICT, which SQLAlchemy spells per database."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from shared.store.database import Connection


def insert_if_new(connection: Connection, table: sa.Table, values: dict[str, object]) -> bool:
    """Insert the row; False, and nothing changed, where its key is taken.

    On PostgreSQL a row of the same key in another open transaction is waited for.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # RETURNING, since psycopg's row count of such an INSERT does not reach SQLAlchemy's result.
    statement = insert(table).values(values).on_conflict_do_nothing().returning(sa.literal(1))
    return connection.execute(statement).first() is not None
