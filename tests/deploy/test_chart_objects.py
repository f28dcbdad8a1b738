"""Every installation of the chart is made of objects that Kubernetes takes and that fit each other."""

from __future__ import annotations

import tomllib

import pytest

from tests.deploy.chart import CASES, CHART, CORRAL, VALUES, environment, found_under, name_of
from tests.fixtures.missing import missing
from tests.house.chart import known_settings
from tests.house.tree import ROOT

OPERATORS = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
"""APIs of operators, which no schema of Kubernetes knows."""


@pytest.fixture(scope="session")
def validate():
    """kubernetes-validate's judgement of one object."""
    try:
        import kubernetes_validate  # noqa: PLC0415 (its absence must be a skip)
    except ImportError as trouble:
        missing("kubernetes-validate", f"{trouble} (`make tools` gets it)")
    return kubernetes_validate.validate


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing_to_criticise(helm, case):
    said = helm.run("lint", "--strict", str(CHART), "--values", str(VALUES / f"{case}.yaml"))

    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_knows_every_field(installation, validate, version):
    for thing in installation.objects:
        if thing["apiVersion"] not in OPERATORS:
            validate(thing, version, strict=True)


def test_an_unknown_field_would_be_seen(installations, validate):
    service = installations["trial"].one("Service", "-api")

    with pytest.raises(Exception, match="additional"):
        validate({**service, "spec": {**service["spec"], "portz": []}}, "1.37", strict=True)


def test_no_two_objects_have_one_name(installation):
    names = [(thing["kind"], name_of(thing)) for thing in installation.objects]

    assert len(names) == len(set(names))


def test_a_long_release_name_still_fits(helm):
    rendered = helm.case("trial", release="a" * 53)

    # A StatefulSet's pods carry its name and a hash of ten characters in a label of 63 at most.
    assert max(len(name_of(thing)) for thing in rendered.objects) <= 52


def test_every_service_finds_its_pods_and_their_port(installation):
    for service in installation.of("Service"):
        wanted = service["spec"]["selector"].items()
        (pod,) = (pod for pod in installation.pods() if wanted <= pod.labels.items())
        ports = {port["name"] for port in pod.main["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_every_workload_and_budget_selects_pods_of_its_own(installation):
    for thing in [
        *installation.of("Deployment"),
        *installation.of("StatefulSet"),
        *installation.of("PodDisruptionBudget"),
    ]:
        wanted = thing["spec"]["selector"]["matchLabels"].items()
        (pod,) = (pod for pod in installation.pods() if wanted <= pod.labels.items())
        assert name_of(pod.owner) == name_of(thing)


def test_every_key_that_is_read_is_there(installation):
    ours = {name_of(secret): set(secret["stringData"]) for secret in installation.of("Secret")}
    given = {"my-secrets": {"secret-key", "database-url"}, "elsewhere": {"KEY", "DATABASE", "REDIS"}}
    given["anthropic"] = {"api-key"}

    read = [
        (reference["name"], reference["key"])
        for thing in installation.objects
        for reference in [*found_under("secretKeyRef", thing), *(found_under("secretTargetRef", thing))]
        for reference in ([reference] if isinstance(reference, dict) else reference)
    ]

    assert read
    assert not [(name, key) for name, key in read if key not in (ours | given).get(name, set())]


def test_every_config_map_that_is_read_is_there(installation):
    ours = {name_of(thing) for thing in installation.of("ConfigMap")} | {"more"}

    assert {found["name"] for found in found_under("configMapRef", installation.objects)} <= ours


def test_every_mount_has_its_volume(installation):
    for pod in installation.pods():
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        volumes |= {name_of(claim) for claim in pod.owner["spec"].get("volumeClaimTemplates", [])}
        for container in pod.containers:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes


def test_the_program_knows_every_setting_the_chart_hands_it(installation):
    handed = {name for pod in installation.pods() for container in pod.containers for name in environment(container)}
    handed |= set(installation.one("ConfigMap")["data"])
    ours = {name for name in handed if name.startswith("CORRAL_") and not name.endswith("_COMMAND")}

    assert ours
    assert ours <= known_settings()


def test_no_variable_is_named_twice(installation):
    for pod in installation.pods():
        for container in pod.containers:
            names = [entry["name"] for entry in container.get("env", [])]
            assert len(names) == len(set(names))


def test_the_processes_are_those_of_the_command_line(installation):
    from cli.main import main  # noqa: PLC0415 (collecting must not wait for it)

    commands = [
        container["args"][0] for pod in installation.pods() for container in pod.containers if "args" in container
    ]

    assert set(CORRAL) <= set(commands)
    assert set(commands) - {"valkey-server"} <= set(main.commands)


def test_whole_numbers_stay_whole(installations):
    data = installations["everything"].one("ConfigMap")["data"]

    assert data["CORRAL_LINE_LIMIT"] == "16777216"
    assert data["CORRAL_ALLOW_BYPASS"] == "true"


def test_the_chart_is_of_this_release(installations):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    assert installations["trial"].pod("api").main["image"] == f"corral:{version}"


def test_a_digest_wins_over_a_tag(installations):
    image = installations["everything"].pod("worker").main["image"]

    assert image.startswith("registry.example.com/team/corral@sha256:")


@pytest.mark.parametrize("case", CASES)
def test_the_notes_name_objects_that_are_there(helm, installations, case):
    said = helm.run(
        "install",
        "corral",
        str(CHART),
        "--dry-run=client",
        "--namespace",
        "prod",
        "--values",
        str(VALUES / f"{case}.yaml"),
    )
    notes = said.partition("NOTES:")[2]

    names = {f"{thing['kind'].lower()}/{name_of(thing)}" for thing in installations[case].objects}
    named = {word for word in notes.split() if word.startswith(("deployment/", "statefulset/", "service/"))}
    assert {"deployment", "statefulset"} <= {name.partition("/")[0] for name in named}
    assert named <= names
    assert ("for a trial" in notes) == (case in {"trial", "shared-volume"})
