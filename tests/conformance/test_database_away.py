"""What counts as the database being away, on both: trying again helps. A wrong statement is an error."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from shared.store.database import Database, DatabaseAway, is_away
from tests.fixtures.outages import written_by_another


def test_a_statement_that_is_wrong_is_an_error_and_not_an_outage(database_url: str) -> None:
    database = Database(database_url)

    for open_transaction in (database.read, database.write):
        with pytest.raises(DBAPIError, match="missing"), open_transaction() as connection:
            connection.execute(sa.text("SELECT * FROM missing"))

    database.close()


def test_a_lock_that_is_not_to_be_had_is_an_outage(sqlite_url: str) -> None:
    database = Database(sqlite_url, timeout_s=0.1)

    with written_by_another(sqlite_url), pytest.raises(DatabaseAway), database.write():
        pass

    database.close()


@pytest.mark.parametrize(
    ("code", "away"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_IOERR_WRITE, True),
        (sqlite3.SQLITE_CANTOPEN, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_ERROR, False),
        (sqlite3.SQLITE_READONLY, False),
    ],
)
def test_sqlites_result_code_decides(code: int, away: bool) -> None:
    told = sqlite3.OperationalError("as it says")
    told.sqlite_errorcode = code

    assert is_away(OperationalError("SELECT 1", {}, told)) is away
