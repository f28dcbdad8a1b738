"""The project stands alone: nothing in it names a machine, a home folder or a package index."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.house.tree import ROOT, files

TEXT_BYTES = 1 << 20
# Folders of one machine, as a captured transcript, a traceback or a tool's output leaves them behind.
FOREIGN = re.compile(
    r"""(?<![\w.-])/(?:
        work/\w | root/\.\w | opt/pypi
        | home/(?!(?:corral|app|agent|user|you|of)\b)\w
        | Users/(?!you\b)\w
    )
    | files\.pythonhosted\.org | pypi\.org/simple""",
    re.VERBOSE,
)
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def _texts():
    for name in files():
        path = ROOT / name
        data = path.read_bytes()
        if len(data) <= TEXT_BYTES and b"\0" not in data:
            yield name, data.decode("utf-8", errors="replace")


def test_nothing_names_a_machine_or_a_package_index():
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match.group()}"
        for name, text in _texts()
        if ROOT / name != Path(__file__)
        for match in FOREIGN.finditer(text)
    ]

    assert not found


@pytest.mark.parametrize(
    "planted",
    [
        '{"cwd": "/work/x"}',
        "/home/anna/.claude",
        "/Users/anna/x",
        "open('/root/.claude')",
        "file:///opt/pypi/simple",
        "--index-url https://pypi.org/simple",
    ],
)
def test_a_machine_path_is_seen(planted):
    assert FOREIGN.search(planted)


@pytest.mark.parametrize("fine", ["/home/corral/.claude", "https://x.test/work/a", "framework/x", "network/y"])
def test_a_path_of_the_image_or_of_a_url_is_not(fine):
    assert not FOREIGN.search(fine)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_and_hashes_every_package_and_names_no_index(lock):
    text = lock.read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip()]

    assert "://" not in text
    assert "--index-url" not in text
    assert all(re.match(r"[a-z0-9.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_the_lock_of_npm_holds_hashes_and_no_address():
    lock = json.loads((ROOT / "tests/agents/opencode/package-lock.json").read_text(encoding="utf-8"))
    packages = [package for name, package in lock["packages"].items() if name]

    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages)


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.lock", ()),
        ("requirements-build.lock", ("build",)),
        ("requirements-dev.lock", ("build", "test", "check")),
        ("requirements-agents.lock", ("agents",)),
        ("requirements-deploy.lock", ("deploy",)),
        ("requirements-helm.lock", ("helm",)),
    ],
)
def test_a_lock_holds_what_pyproject_asks_for(lock, groups):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [Requirement(line) for group in groups for line in project["dependency-groups"][group]]
    if lock in {"requirements.lock", "requirements-dev.lock"}:
        asked += [Requirement(line) for line in project["project"]["dependencies"]]
    pinned = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE))

    stale = [
        str(requirement)
        for requirement in asked
        if not requirement.specifier.contains(pinned.get(requirement.name.lower().replace("_", "-"), "0"))
    ]

    assert not stale, "run `make lock`"
