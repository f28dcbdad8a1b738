"""docs/adding-an-agent.md, followed word by word in a copy of the project: the agent of the page is built and run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.papers import ROOT, blocks, read
from tests.fixtures.terminal import upped

NEEDED = (
    "api",
    "cli",
    "migrations",
    "shared",
    "workers",
    "tests/conformance",
    "tests/fixtures",
    "tests/house",
    "tests/fakes",
)
FILES = ("pyproject.toml", "Makefile", "tests/__init__.py", "tests/conftest.py")


@pytest.fixture(scope="module")
def page() -> dict[str, str]:
    """The blocks of the page by what they are marked with."""
    return {block.mark: block.body for block in blocks(read("docs/adding-an-agent.md")) if block.mark}


@pytest.fixture(scope="module")
def copy(page: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the page's agent in it."""
    folder = tmp_path_factory.mktemp("copy")
    for name in NEEDED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    (folder / "tests/transcripts").mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("tests/fakes/parrot.py", "shared/agents/parrot.py"):
        (folder / name).write_text(page[name])
    _register(folder / "shared/agents/registry.py", page["registry"])
    _give_words(folder / "tests/conformance/sayings.py", page["sayings"])
    return folder


def _register(registry: Path, lines: str) -> None:
    imported, place = lines.strip().splitlines()
    text = registry.read_text().replace("from shared.domain", f"{imported}\nfrom shared.domain", 1)
    registry.write_text(re.sub(r"(_ALL: .* = \(.*)\)\n", rf"\1, {place})\n", text))


def _give_words(sayings: Path, words: str) -> None:
    text = sayings.read_text().replace("from dataclasses", "from pathlib import Path\nfrom dataclasses", 1)
    before, live, after = text.partition("LIVE: ")
    sayings.write_text(
        f"{before}{words}\n{live}{after}".replace('= {"demo": DEMO', '= {"parrot": PARROT, "demo": DEMO', 1)
    )


def run_in(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        # The copy goes before the installed project.
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(folder), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_agent_of_the_page_passes_the_conformance_suite(page, copy):
    # The recordings of the agents that are there: a house test wants each to have some.
    for agent in ("claude", "demo"):
        (copy / f"tests/transcripts/{agent}").symlink_to(ROOT / f"tests/transcripts/{agent}")
    subprocess.run(["git", "init", "--quiet", "."], cwd=copy, check=True)

    recorded = run_in(copy, page["record"])
    assert recorded.returncode == 0, recorded.stderr
    tested = run_in(copy, page["test"].strip() + " -p no:cacheprovider")

    assert tested.returncode == 0, tested.stdout
    assert (copy / "tests/transcripts/parrot/permission-allowed/provenance.md").exists()
    passed = re.findall(r"(\d+) passed", tested.stdout)
    assert int(passed[0]) >= 20, tested.stdout
    assert "skipped" not in tested.stdout


def test_the_code_of_the_page_keeps_the_rules_of_the_house(copy):
    linted = run_in(
        copy,
        "ruff check shared/agents/parrot.py shared/agents/registry.py && ruff format --check shared/agents/parrot.py",
    )

    assert linted.returncode == 0, linted.stdout


def test_the_agent_of_the_page_runs_in_a_session(copy):
    command = f"{sys.executable} {copy}/tests/fakes/parrot.py"
    with upped(copy, PYTHONPATH=str(copy), CORRAL_PARROT_COMMAND=command) as up:
        ready = {agent["name"]: agent["ready"] for agent in up.client.get("/agents")["data"]}
        assert ready["parrot"] is True

        with up.terminal("run", "--agent", "parrot", "whisper hello from the parrot") as terminal:
            terminal.until("May the agent use whisper?")
            terminal.until("allow, always or deny")
            terminal.type("allow\n")
            terminal.until("  hello from the parrot")
            assert terminal.status() == 0
