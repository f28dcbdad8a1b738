"""No installation of the chart runs as root, shows a secret, or is ended before it has drained."""

from __future__ import annotations

import pytest
import yaml

from tests.deploy.chart import CORRAL, VALUES, environment, name_of, texts

SECRETS = ("only-for-tests", "password-0001")


def test_no_pod_runs_as_root_or_may_become_it(installation):
    for pod in installation.pods():
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] >= 999
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_no_pod_gets_a_token_or_the_addresses_of_services(installation):
    for pod in installation.pods():
        assert pod.spec["automountServiceAccountToken"] is False
        # A Service corral-api would make CORRAL_API_PORT a URL, and the process would not start.
        assert pod.spec["enableServiceLinks"] is False
    assert all(account["automountServiceAccountToken"] is False for account in installation.of("ServiceAccount"))


def test_no_secret_stands_outside_of_a_secret(installation):
    outside = [text for thing in installation.objects if thing["kind"] != "Secret" for text in texts(thing)]

    assert not [text for text in outside if any(secret in text for secret in SECRETS)]


def test_a_secret_would_be_seen(installations):
    assert any(SECRETS[0] in text for text in texts(installations["trial"].of("Secret")))


def test_an_existing_secret_leaves_nothing_to_put_into_ours(installations):
    assert not installations["bare"].of("Secret")
    assert set(installations["existing-secret"].one("Secret")["stringData"]) == {"redis-url"}


def test_every_container_says_what_it_needs_and_which_image_it_is(installation):
    for pod in installation.pods():
        for container in pod.containers:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert container["image"].rpartition("@sha256:")[1] or container["image"].rpartition(":")[2] not in {
                "",
                "latest",
            }


@pytest.mark.parametrize("component", CORRAL)
def test_each_process_is_asked_at_its_own_port(installation, component):
    container = installation.pod(component).main
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    told = {name: value for name, value in environment(container).items() if name.endswith("_PORT")}

    assert list(told.values()) == [ports["http"]]
    assert [value for name, value in environment(container).items() if name.endswith("_HOST")] == ["0.0.0.0"]
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    # The database being away must not kill what waits for it.
    assert paths["livenessProbe"] == paths["startupProbe"] == {"path": "/healthz", "port": "http"}
    assert paths["readinessProbe"] == {"path": "/readyz", "port": "http"}


def test_a_worker_may_drain_before_it_is_killed(installation):
    pod = installation.pod("worker")

    assert pod.spec["terminationGracePeriodSeconds"] >= int(environment(pod.main)["CORRAL_DRAIN_S"]) + 60


def test_a_delivery_process_may_end_its_requests(installation):
    from shared.settings.groups import Delivery  # noqa: PLC0415

    assert installation.pod("delivery").spec["terminationGracePeriodSeconds"] > 2 * Delivery().timeout_s


def test_a_worker_keeps_its_name_and_is_found_by_it(installation):
    pod = installation.pod("worker")
    env = environment(pod.main)
    service = installation.one("Service", "-worker")

    assert pod.owner["kind"] == "StatefulSet"
    assert pod.owner["spec"]["serviceName"] == name_of(service)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert env["CORRAL_WORKER_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert env["CORRAL_INTERNAL_ADDRESS"] == f"$(CORRAL_WORKER_NAME).{name_of(service)}.prod.svc.cluster.local:8421"
    # Kubernetes resolves $(NAME) only where NAME stands before it.
    assert list(env).index("CORRAL_WORKER_NAME") < list(env).index("CORRAL_INTERNAL_ADDRESS")


def test_a_worker_keeps_its_volume(installations):
    for case, wanted in {"existing-secret": "Retain", "everything": "Delete"}.items():
        spec = installations[case].pod("worker").owner["spec"]
        assert [name_of(claim) for claim in spec["volumeClaimTemplates"]] == ["workspaces"]
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": wanted}


def test_workers_may_share_a_volume(installations):
    pod = installations["shared-volume"].pod("worker")

    assert "volumeClaimTemplates" not in pod.owner["spec"]
    assert {"name": "workspaces", "persistentVolumeClaim": {"claimName": "workspaces"}} in pod.spec["volumes"]


def test_workspaces_are_where_the_worker_looks_for_them(installation):
    container = installation.pod("worker").main

    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts[environment(container)["CORRAL_WORKSPACE_ROOT"]] == "workspaces"


def test_an_eviction_takes_one_worker_at_a_time(installations):
    assert installations["existing-secret"].one("PodDisruptionBudget", "-worker")["spec"]["maxUnavailable"] == 1
    assert not installations["bare"].of("PodDisruptionBudget")


def test_the_database_is_migrated_before_anything_else_changes(installations):
    for case in ("existing-secret", "everything"):
        job = installations[case].one("Job")
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert installations[case].pod("migrate").main["args"] == ["migrate"]


def test_the_migration_needs_nothing_that_is_not_there_yet(installations):
    job, secret = installations["everything"].one("Job"), installations["everything"].one("Secret", "-migrate")

    weights = [int(thing["metadata"]["annotations"]["helm.sh/hook-weight"]) for thing in (secret, job)]
    assert weights == sorted(set(weights))
    reference = environment(installations["everything"].pod("migrate").main)["CORRAL_DATABASE_URL"]["secretKeyRef"]
    assert reference == {"name": name_of(secret), "key": "database-url"}
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]


def test_a_trial_migrates_before_each_pod_starts(installations):
    assert not installations["trial"].of("Job")
    for component in CORRAL:
        (first,) = installations["trial"].pod(component).spec["initContainers"]
        assert first["args"] == ["migrate"]


def test_only_the_ways_of_callers_are_reached_from_outside(installations):
    (rule,) = installations["everything"].one("Ingress")["spec"]["rules"]

    paths = [path["path"] for path in rule["http"]["paths"]]
    assert paths == ["/v1", "/a", "/docs", "/openapi.json"]
    assert not any("/metrics".startswith(path) for path in paths)


def test_agents_and_webhooks_do_not_reach_the_clouds_metadata(installations):
    for case in ("everything", "shared-volume"):
        for component in ("worker", "delivery"):
            blocks = installations[case].one("NetworkPolicy", f"-{component}")["spec"]["egress"][1]["to"]
            assert {"169.254.0.0/16", "fd00:ec2::254/128"} <= {
                cidr for block in blocks for cidr in block["ipBlock"]["except"]
            }


def test_only_the_api_and_prometheus_reach_a_worker(installations):
    (rule,) = installations["everything"].one("NetworkPolicy", "-worker")["spec"]["ingress"]

    api, metrics = rule["from"]
    assert api["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert metrics == {"namespaceSelector": {"matchLabels": {"role": "metrics"}}}
    assert installations["shared-volume"].one("NetworkPolicy", "-delivery")["spec"]["ingress"] == []


def test_new_settings_roll_the_pods(helm):
    before, after = (helm.case("trial", "--set", f"settings.CORRAL_RATE_LIMIT={limit}") for limit in (1, 2))

    for component in CORRAL:
        sums = [one.pod(component).template["metadata"]["annotations"]["checksum/settings"] for one in (before, after)]
        assert sums[0] != sums[1]


def test_scaling_leaves_the_number_of_replicas_alone(installations):
    everything = installations["everything"]

    assert "replicas" not in everything.one("Deployment", "-api")["spec"]
    assert "replicas" not in everything.one("StatefulSet", "-worker")["spec"]
    assert everything.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "herd-api"


def test_prometheus_finds_the_three_processes_and_nothing_else(installations):
    everything = installations["everything"]
    (expression,) = everything.one("ServiceMonitor")["spec"]["selector"]["matchExpressions"]

    found = {
        service["metadata"]["labels"][expression["key"]]
        for service in everything.of("Service")
        if service["metadata"]["labels"][expression["key"]] in expression["values"]
        and service["spec"]["ports"][0]["name"] == everything.one("ServiceMonitor")["spec"]["endpoints"][0]["port"]
    }
    assert found == set(CORRAL)


def test_the_matrix_uses_every_switch_of_the_chart():
    values = yaml.safe_load((VALUES / "everything.yaml").read_text(encoding="utf-8"))

    switches = (values["ingress"], values["networkPolicy"], values["serviceMonitor"], values["worker"]["keda"])
    assert all(switch["enabled"] for switch in switches)
