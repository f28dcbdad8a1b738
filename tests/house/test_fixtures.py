"""The services tests stand on: real, empty at the start of each test, waited for with a deadline."""

from __future__ import annotations

import psycopg
import pytest
import redis

from tests.fixtures.waiting import eventually


def test_each_test_gets_an_empty_redis(valkey_server, request):
    with redis.Redis.from_url(valkey_server.url) as client:
        client.set("left", "by an earlier test")

        request.getfixturevalue("valkey_url")

        assert client.dbsize() == 0


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_gets_a_postgresql_database_of_its_own(bare_postgres_url, round_):
    with psycopg.connect(bare_postgres_url) as connection:
        connection.execute("CREATE TABLE mine (n integer)")
        assert connection.execute("SELECT count(*) FROM mine").fetchone() == (0,)


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_gets_migrated_tables_without_a_row(postgres_url, round_):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("INSERT INTO tenants VALUES ('ten_left', 'left', 'sealed', now())")
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (1,)


@pytest.mark.parametrize("round_", [1, 2])
def test_a_database_whose_tables_were_changed_is_not_handed_on(postgres_url, round_):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE tenants ADD COLUMN colour text")


def test_a_wait_that_fails_tells_what_it_last_saw():
    with pytest.raises(AssertionError, match=r"the lamp did not hold within 0.02 s; last seen: \[\]"):
        eventually(list, timeout_s=0.02, about="the lamp")


def test_a_wait_ends_as_soon_as_the_condition_holds():
    answers = iter([None, 0, "lit"])

    assert eventually(lambda: next(answers), timeout_s=5) == "lit"
