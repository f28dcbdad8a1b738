"""A store with two tenants in it, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.store.database import Database
from tests.fixtures.store_rows import add_tenants


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """An open database that holds the tenants ACME and OTHER, nothing else; once per kind of database."""
    # 20 s: twenty threads that begin together queue for SQLite's one write lock on a busy machine.
    database = Database(database_url, pool_size=25, timeout_s=20.0)
    with database.write() as c:
        add_tenants(c)
    yield database
    database.close()
