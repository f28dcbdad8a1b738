"""docker-compose.yml: Compose takes it, its parts fit each other, and a missing secret is asked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from shared.settings.groups import Delivery
from tests.deploy import compose
from tests.fixtures.missing import missing
from tests.house.chart import known_settings

GIVEN = {"POSTGRES_PASSWORD": "pw", "CORRAL_SECRET_KEY": "k" * 32}
OURS = ("migrate", "api", "worker", "delivery")


@pytest.fixture
def services():
    return compose.load(GIVEN)["services"]


def test_compose_knows_every_key():
    if importlib.util.find_spec("check_jsonschema") is None:
        missing("check-jsonschema", "its wheel is not installed (`make tools` gets it)")

    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose.FILE)]
    judged = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("name", GIVEN)
def test_a_missing_secret_is_asked_for_by_name(name):
    with pytest.raises(compose.Unset, match=rf"^{name}: set {name} in \.env"):
        compose.load({key: value for key, value in GIVEN.items() if key != name} | {name: ""})


def test_the_addresses_lead_to_the_services_beside(services):
    database = urlsplit(services["api"]["environment"]["CORRAL_DATABASE_URL"])
    postgres = services["postgres"]["environment"]

    assert database.hostname in services
    assert database.path == f"/{postgres['POSTGRES_DB']}"
    assert (database.username, database.password) == (postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"])
    assert urlsplit(services["api"]["environment"]["CORRAL_REDIS_URL"]).hostname in services


@pytest.mark.parametrize("name", OURS)
def test_the_program_knows_every_setting(services, name):
    assert set(services[name]["environment"]) <= known_settings()


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_may_do_nothing_it_need_not(services, name):
    service = services[name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_no_image_is_whatever_is_newest(services):
    tags = {name: service["image"].rpartition(":")[2] for name, service in services.items()}

    assert not [name for name, tag in tags.items() if tag in {"", "latest"}]


def test_nothing_starts_before_what_it_needs(services):
    for name in ("api", "worker", "delivery"):
        assert services[name]["depends_on"] == {
            "redis": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert all("test" in services[name]["healthcheck"] for name in services if name != "migrate")


def test_what_keeps_running_is_started_again(services):
    assert {name: service["restart"] for name, service in services.items() if name != "migrate"} == dict.fromkeys(
        set(services) - {"migrate"}, "unless-stopped"
    )
    # With `docker compose up --scale worker=3` a name of one's own would be taken.
    assert not [name for name, service in services.items() if "container_name" in service]


def test_everybody_has_the_time_to_end_well(services):
    worker = services["worker"]

    drain_s = float(worker["environment"]["CORRAL_DRAIN_S"])
    assert compose.seconds(worker["stop_grace_period"]) >= drain_s + 60
    assert compose.seconds(services["delivery"]["stop_grace_period"]) > 2 * Delivery().timeout_s


def test_only_this_machine_reaches_the_api_unless_told_otherwise(services):
    assert services["api"]["ports"] == ["127.0.0.1:8420:8420"]
    told = compose.load(GIVEN | {"CORRAL_BIND": "0.0.0.0", "CORRAL_PORT": "80"})["services"]["api"]
    assert told["ports"] == ["0.0.0.0:80:8420"]
    assert told["environment"]["CORRAL_PUBLIC_URL"] == "http://127.0.0.1:80"
    assert not [name for name, service in services.items() if name != "api" and "ports" in service]


def test_every_volume_is_declared_and_used(services):
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}

    assert used == set(compose.load(GIVEN)["volumes"])


@pytest.mark.parametrize("target", ["corral", "corral-claude"])
def test_the_image_may_have_claude_in_it(target):
    services = compose.load(GIVEN | {"CORRAL_TARGET": target})["services"]

    assert {services[name]["build"]["target"] for name in OURS} == {target}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("a$$b", "a$b"),
        ("$A-${A}", "1-1"),
        ("${NO}", ""),
        ("${NO:-x}", "x"),
        ("${EMPTY:-x}${EMPTY-x}", "x"),
        ("${NO:-http://h:${A:-2}/}", "http://h:1/"),
        ("${A:?needed}", "1"),
    ],
)
def test_a_variable_is_filled_in_as_compose_does(text, filled):
    assert compose.interpolate(text, {"A": "1", "EMPTY": ""}) == filled
