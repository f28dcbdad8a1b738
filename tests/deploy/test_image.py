"""The image: pinned, in stages, for a user who is not root, with an entry point that gets signals."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest

from cli.main import main
from tests.deploy import image
from tests.deploy.compose import DOCKERFILE
from tests.house.tree import ROOT

STAGES = image.read(DOCKERFILE)
RUNNING = ["corral", "corral-claude"]


def test_hadolint_finds_nothing_to_criticise(hadolint_program):
    judged = subprocess.run([str(hadolint_program), str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_every_base_image_names_a_version_of_python_we_support():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = int(project["requires-python"].removeprefix(">=3."))

    for stage in STAGES.values():
        version = re.fullmatch(r"python:3\.(\d+)-slim-\w+", stage.origin)
        assert version is not None, stage.origin
        assert int(version[1]) >= lowest


@pytest.mark.parametrize("name", RUNNING)
def test_nothing_runs_as_root(name):
    user = STAGES[name].last("USER")

    # A number, so that Kubernetes can see that it is not root.
    assert user is not None
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)


@pytest.mark.parametrize("name", RUNNING)
def test_the_entry_point_is_a_command_of_ours_behind_an_init(name):
    stage = STAGES[name]

    # No -g: SIGTERM is the worker's, whose agents may finish their turn.
    assert stage.argv("ENTRYPOINT") == ["tini", "--", "corral"]
    assert stage.argv("CMD")[0] in main.commands
    assert _words_of(stage.last("HEALTHCHECK"))[1] in main.commands


@pytest.mark.parametrize("name", RUNNING)
def test_corral_starts_where_no_agent_can_put_an_env_file(name):
    stage = STAGES[name]
    (volume,) = stage.all("VOLUME")

    assert stage.environment["CORRAL_WORKSPACE_ROOT"] == volume
    assert not f"{stage.last('WORKDIR')}/".startswith(f"{volume}/")


def test_the_image_that_runs_holds_no_sources_and_no_pip():
    running = STAGES["corral"]

    assert all(argument.startswith("--from=build ") for argument in running.all("COPY"))
    assert "--without-pip" in " ".join(STAGES["build"].all("RUN"))


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_package_from_the_index_is_locked_by_hash(stage):
    installs = [
        command for run in stage.all("RUN") for command in run.split("&&") if "pip" in command and " -r " in command
    ]
    others = [
        command for run in stage.all("RUN") for command in run.split("&&") if re.search(r"pip .*install", command)
    ]

    assert all("--require-hashes" in command for command in installs)
    assert all("dist/*.whl" in command for command in others if command not in installs)


def test_the_build_is_given_all_it_copies_and_little_else():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    given = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source
        for stage in STAGES.values()
        for argument in stage.all("COPY")
        if not argument.startswith("--from")
        for source in argument.split()[:-1]
    }

    assert "**" in ignored
    assert copied == given
    assert all((ROOT / source).exists() for source in copied)


def test_the_build_gets_every_room_that_ships():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])

    assert rooms <= {argument.split()[0] for argument in STAGES["build"].all("COPY")}


def _words_of(healthcheck):
    """The command of a HEALTHCHECK."""
    return re.findall(r'"([^"]+)"', healthcheck.partition("CMD")[2])
