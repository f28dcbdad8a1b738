"""Idempotency keys: one effect, one answer, nothing left of what failed."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from shared.domain.errors import IdempotencyInFlight, IdempotencyMismatch, NothingChanged
from shared.store import idempotency
from shared.store.database import Database
from shared.store.idempotency import Reply
from tests.fixtures.store_rows import ACME, OTHER, add_session, add_tenants, at_once
from tests.fixtures.waiting import eventually

ROUTE = "POST /v1/sessions"


def begin(c, *, tenant=ACME, route=ROUTE, key="k", body="hash"):
    return idempotency.begin(c, tenant, route, key, body)


def run(c, reply="first", **key):
    """What an operation does: the effect once, its reply from then on."""
    stored = begin(c, **key)
    if stored is not None:
        return stored
    add_session(c)
    idempotency.finish(c, ACME, ROUTE, "k", 201, reply)
    return "ran"


def sessions_made(db):
    with db.read() as c:
        return c.exec_driver_sql("SELECT count(*) FROM sessions").scalar_one()


def test_a_repeated_request_gets_the_first_answer_and_no_second_effect(db):
    with db.write() as c:
        assert run(c) == "ran"
    with db.write() as c:
        assert run(c, reply="second") == Reply(201, "first")

    assert sessions_made(db) == 1


def test_the_same_key_with_another_body_is_refused(db):
    with db.write() as c:
        run(c)

        with pytest.raises(IdempotencyMismatch):
            begin(c, body="another")


def test_the_same_key_of_another_tenant_or_on_another_route_is_another_key(db):
    with db.write() as c:
        run(c)

        assert begin(c, tenant=OTHER) is None
        assert begin(c, route="POST /v1/batches") is None
        assert begin(c, key="K") is None


def test_a_request_that_failed_leaves_its_key_free(db):
    def fail(c):
        assert begin(c) is None
        raise NothingChanged("on purpose")

    at_once(db, 1, fail)

    with db.write() as c:
        assert run(c) == "ran"


def test_a_key_without_an_answer_is_in_flight(db):
    with db.write() as c:
        begin(c)
    with db.write() as c, pytest.raises(IdempotencyInFlight):
        begin(c)


def test_of_twenty_requests_with_one_key_one_runs_and_the_others_get_its_answer(db):
    answers = at_once(db, 20, run)

    kinds = Counter("told to wait" if isinstance(answer, IdempotencyInFlight) else answer for answer in answers)
    assert kinds["ran"] == 1
    assert kinds["ran"] + kinds[Reply(201, "first")] + kinds["told to wait"] == 20
    assert sessions_made(db) == 1


def test_twenty_requests_of_which_the_first_ones_fail_still_run_once(db):
    tries = iter(range(20))

    def fail_at_first(c):
        answer = run(c)
        if answer == "ran" and next(tries) < 3:
            raise NothingChanged("on purpose")
        return answer

    answers = at_once(db, 20, fail_at_first)

    assert answers.count("ran") == 1
    assert sum(isinstance(answer, NothingChanged) for answer in answers) == 3
    assert sessions_made(db) == 1


def test_a_request_does_not_wait_for_ever_for_the_first_one(postgres_url):
    patient, hasty = Database(postgres_url), Database(postgres_url, timeout_s=0.3)
    with patient.write() as c:
        add_tenants(c)

    def second(c):
        return begin(c)

    with patient.write() as c:
        assert begin(c) is None
        [answer] = at_once(hasty, 1, second)

    assert isinstance(answer, IdempotencyInFlight)


def test_a_request_waits_for_the_first_one_and_gets_its_answer(postgres_url):
    db = Database(postgres_url)
    with db.write() as c:
        add_tenants(c)
    begun, finish = threading.Event(), threading.Event()

    def first():
        with db.write() as c:
            answer = run(c)
            begun.set()
            assert finish.wait(10)
        return answer

    with ThreadPoolExecutor(2) as pool:
        runs = pool.submit(first)
        assert begun.wait(10)
        waits = pool.submit(at_once, db, 1, run)
        with psycopg.connect(postgres_url, autocommit=True) as onlooker:
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            eventually(lambda: onlooker.execute(blocked).fetchone() != (0,), about="the second request waits")
        finish.set()

        assert runs.result(10) == "ran"
        assert waits.result(10) == [Reply(201, "first")]
