"""Values that cannot work are refused before anything is made, with a word on what is wrong."""

from __future__ import annotations

import pytest

from tests.deploy.chart import Refused

KEY = "secrets.secretKey=only-for-tests-forty-characters-of-nothing"
DATABASE = "database.url=postgresql://u:p@h/d"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "secrets.existingSecret"),
        ([KEY], "database.url"),
        ([KEY, "postgresql.enabled=true"], "postgresql.password"),
        ([KEY, DATABASE, "postgresql.enabled=true", "postgresql.password=abcdefghijkl"], "two databases"),
        ([KEY, DATABASE, "redis.url=redis://h"], "redis.enabled=false"),
        ([KEY, DATABASE, "redis.enabled=false"], "redis.url"),
        ([KEY, DATABASE, "ingress.enabled=true"], "ingress.host"),
    ],
)
def test_an_installation_that_lacks_something_is_told_what(helm, values, said):
    with pytest.raises(Refused, match=said):
        helm.render(*(part for value in values for part in ("--set", value)))


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("secrets.secretKey=short", "/secrets/secretKey"),
        ("database.url=mysql://h/d", "/database/url"),
        # KEDA reads the same URL and knows no drivers.
        ("database.url=postgresql+psycopg://h/d", "/database/url"),
        ("redis.url=h:6379", "/redis/url"),
        ("redis.password=p@ss/word-long", "/redis/password"),
        ("image.tag=latest", "/image/tag"),
        ("image.digest=sha256:0", "/image/digest"),
        ("worker.capacity=0", "/worker/capacity"),
        ("worker.drainSeconds=-1", "/worker/drainSeconds"),
        ("worker.pdb.maxUnavailable=0", "/worker/pdb/maxUnavailable"),
        ("worker.keda.utilization=95", "/worker/keda/utilization"),
        ("worker.persistence.size=lots", "/worker/persistence/size"),
        ("worker.persistence.accessModes={ReadOnlyMany}", "/worker/persistence/accessModes"),
        ("settings.CORRAL_CAPACTY=5", "CORRAL_CAPACTY"),
        ("settings.CORRAL_SECRET_KEY=in-plain-sight", "CORRAL_SECRET_KEY"),
        ("settings.CORRAL_WORKER_NAME=all-the-same", "CORRAL_WORKER_NAME"),
        ("workers.replicaCount=3", "workers"),
        ("api.replicas=3", "/api"),
        ("publicUrl=corral.example.com", "/publicUrl"),
        ("ingress.paths={v1}", "/ingress/paths"),
        ("serviceMonitor.interval=30", "/serviceMonitor/interval"),
    ],
)
def test_a_bad_value_is_refused_and_named(helm, value, where):
    with pytest.raises(Refused, match="schema") as refused:
        helm.case("existing-secret", "--set", value)

    assert where in str(refused.value)
