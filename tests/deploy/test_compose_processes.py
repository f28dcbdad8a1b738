"""The processes of docker-compose.yml, started from the file on this machine, work as one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.deploy import compose
from tests.fixtures.fleet import Client, free_port
from tests.fixtures.waiting import eventually

GIVEN = {"POSTGRES_PASSWORD": "pw", "CORRAL_SECRET_KEY": "a secret key of this test, long enough"}


@pytest.fixture
def services():
    return compose.load(GIVEN)["services"]


@pytest.fixture
def machine(services, tmp_path, bare_postgres_url, valkey_url):
    """PostgreSQL without a table, an empty valkey, free ports and empty folders for those of the file."""
    ports = (value for one in services.values() for name, value in _environment(one) if name.endswith("_PORT"))
    volume = tmp_path / "workspaces"
    volume.mkdir()
    return compose.Machine(
        hosts={"postgres": bare_postgres_url, "redis": valkey_url},
        ports={port: str(free_port()) for port in ports},
        volumes={"workspaces": volume},
        folder=tmp_path,
    )


def _environment(service):
    return service.get("environment", {}).items()


def _run(command: compose.Command, *, timeout_s: float = 60.0) -> str:
    done = subprocess.run(
        command.argv,
        env=command.env,
        cwd=command.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (command.argv, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@contextmanager
def _running(name: str, command: compose.Command, grace_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """The process until the block ends; then SIGTERM, as Compose does, and it must end well within `grace_s`."""
    log = command.folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command.argv, env=command.env, cwd=command.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield process
        process.terminate()
        assert process.wait(grace_s) == 0, log.read_text(errors="replace")[-3000:]
    except BaseException:
        print(f"--- {name}\n{log.read_text(errors='replace')[-3000:]}")  # noqa: T201 (pytest shows it with the failure)
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


@contextmanager
def _healthy(name: str, service, machine: compose.Machine) -> Iterator[None]:
    check = service["healthcheck"]
    patience_s = compose.seconds(check["start_period"]) + check["retries"] * compose.seconds(check["interval"])
    probe = machine.healthcheck_of(service)
    with _running(name, machine.start_of(service), compose.seconds(service["stop_grace_period"])) as process:

        def is_healthy() -> bool:
            assert process.poll() is None, f"{name} ended with {process.returncode}"
            judged = subprocess.run(
                probe.argv, env=probe.env, cwd=probe.folder, check=False, timeout=compose.seconds(check["timeout"])
            )
            return judged.returncode == 0

        eventually(is_healthy, timeout_s=patience_s, about=f"{name} healthy")
        yield


def test_a_prompt_completes_on_the_processes_of_the_file(services, machine):
    _run(machine.start_of(services["migrate"]))
    with (
        _healthy("api", services["api"], machine),
        _healthy("worker", services["worker"], machine),
        _healthy("delivery", services["delivery"], machine),
    ):
        key = _run(machine.beside(services["api"], "corral", "key", "create", "--name", "first")).strip()
        client = Client(f"http://127.0.0.1:{machine.ports['8420']}", key)

        session = client.start("Say hello", mode="accept_edits")
        turn = client.turn(session["turn"]["id"])

        assert turn["status"] == "completed"
        # The API reads it over the worker's internal address.
        assert "hello.md" in {entry["path"] for entry in client.get(f"/sessions/{session['id']}/files")["data"]}


def test_a_healthcheck_fails_while_its_process_is_not_there(services, machine):
    for name in ("api", "worker", "delivery"):
        probe = machine.healthcheck_of(services[name])
        judged = subprocess.run(probe.argv, env=probe.env, cwd=probe.folder, check=False, timeout=20)
        assert judged.returncode == 1
