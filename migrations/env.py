"""Alembic's entry: runs the migrations on the connection `shared.store.migrate` hands over.

A composition root. It opens nothing itself, so that the lock, the transaction and the migration share one plan.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from shared.store.usage_tables import metadata


def _run(connection: sa.Connection) -> None:
    on_sqlite = connection.dialect.name == "sqlite"
    applied: list[object] = []
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        # SQLite alters by rebuilding the table.
        render_as_batch=on_sqlite,
        transactional_ddl=True,
        # PostgreSQL keeps what is done when a later migration has to wait for a lock and is tried again.
        # On SQLite all of it is one BEGIN IMMEDIATE, which is the lock.
        transaction_per_migration=not on_sqlite,
        on_version_apply=lambda **facts: applied.append(facts["step"]),
    )
    with context.begin_transaction():
        context.run_migrations()
        if applied and on_sqlite:
            _check_references(connection)


def _check_references(connection: sa.Connection) -> None:
    # Tables are rebuilt with foreign keys off; what was lost on the way must not be committed.
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise RuntimeError(
            f"The migration would leave a row of {broken[0]!r} that refers to nothing; nothing was changed."
        )


_run(context.config.attributes["connection"])
