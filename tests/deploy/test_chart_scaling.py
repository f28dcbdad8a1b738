"""The query by which KEDA scales workers, asked of a real PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest

from shared.store import ownership
from shared.store.database import Database
from tests.fixtures.seeds import plant


@pytest.fixture
def fleet_rows(postgres_url):
    """Seeds on PostgreSQL, where KEDA asks."""
    database = Database(postgres_url)
    yield plant(database)
    database.close()


def _asked(rendered, postgres_url):
    (trigger,) = rendered.one("ScaledObject")["spec"]["triggers"]
    with psycopg.connect(postgres_url) as connection:
        (wanted,) = connection.execute(trigger["metadata"]["query"].encode()).fetchone()
    # KEDA compares this with the target: so many workers for so much of it.
    return int(wanted) / float(trigger["metadata"]["targetQueryValue"])


def _host(seeds, session, worker, volume):
    with seeds.database.write() as connection:
        assert ownership.claim(connection, worker, volume, session=session) is not None


def _park(seeds, session):
    with seeds.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE heads SET owner = NULL, wanted_at = NULL, status = 'parked' WHERE session_id = %s", (session,)
        )


def _end(seeds, session):
    with seeds.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE heads SET owner = NULL, wanted_at = NULL, status = 'ended' WHERE session_id = %s", (session,)
        )


@pytest.mark.parametrize("case", ["everything", "shared-volume"])
def test_an_empty_fleet_wants_no_worker(installations, case, postgres_url):
    assert _asked(installations[case], postgres_url) == 0


def test_sessions_that_run_or_wait_want_workers_before_all_are_full(installations, fleet_rows, postgres_url):
    worker = fleet_rows.worker("corral-worker-0", capacity=4)
    sessions = [fleet_rows.session() for _ in range(5)]
    _host(fleet_rows, sessions[0], worker, "vol")

    # Four to a worker, of which half are to be filled.
    assert _asked(installations["shared-volume"], postgres_url) == 3


def test_parked_and_ended_sessions_want_nobody_where_any_worker_can_take_them(installations, fleet_rows, postgres_url):
    worker = fleet_rows.worker("corral-worker-0")
    for leave in (_park, _end):
        session = fleet_rows.session()
        _host(fleet_rows, session, worker, "vol")
        leave(fleet_rows, session)

    assert _asked(installations["shared-volume"], postgres_url) == 0


def test_a_worker_whose_volume_holds_a_parked_session_stays(installations, fleet_rows, postgres_url):
    fleet_rows.worker("herd-worker-0", volume="vol_0")
    twelfth = fleet_rows.worker("herd-worker-12", volume="vol_12")
    session = fleet_rows.session()
    _host(fleet_rows, session, twelfth, "vol_12")
    _park(fleet_rows, session)

    # Kubernetes takes the highest ordinal first: for worker 12 to stay, 13 must.
    assert _asked(installations["everything"], postgres_url) == 13


def test_a_worker_may_go_when_its_sessions_have_ended(installations, fleet_rows, postgres_url):
    worker = fleet_rows.worker("herd-worker-7", volume="vol_7")
    session = fleet_rows.session()
    _host(fleet_rows, session, worker, "vol_7")
    _end(fleet_rows, session)

    assert _asked(installations["everything"], postgres_url) == 0


def test_keda_takes_workers_away_slowly_and_asks_as_the_processes_do(installations):
    everything = installations["everything"]
    spec = everything.one("ScaledObject")["spec"]
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]

    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "herd-worker"}
    assert down["stabilizationWindowSeconds"] >= 600
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    (secret,) = everything.one("TriggerAuthentication")["spec"]["secretTargetRef"]
    assert secret == {"parameter": "connection", "name": "herd", "key": "database-url"}
