"""The import contracts catch what they are there for: each is broken on purpose in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT, rooms

# contract, who imports, what it may not import
PLANTED = [
    ("storeys", "shared.domain.planted_up", "api"),
    ("storeys", "api.resources.planted_across", "workers.host"),
    ("storeys", "workers.host.planted_across", "api.schemas"),
    ("storeys", "api.resources.planted_up", "cli"),
    ("storeys", "shared.store.planted_up", "migrations"),
    ("shared-rooms", "shared.domain.planted_rooms", "shared.telemetry"),
    ("shared-rooms", "shared.store.planted_rooms", "shared.events"),
    ("shared-rooms", "shared.agents.planted_rooms", "shared.store"),
    ("shared-rooms", "shared.channel.planted_rooms", "shared.workspaces"),
    ("shared-rooms", "shared.events.planted_rooms", "shared.operations"),
    ("shared-rooms", "shared.telemetry.planted_rooms", "shared.channel"),
    ("api-rooms", "api.schemas.planted_rooms", "api.resources"),
    ("workers-rooms", "workers.host.planted_rooms", "workers.delivery"),
    ("workers-rooms", "workers.delivery.planted_rooms", "workers.maintenance"),
    ("plug-ins", "shared.agents.planted_one", "shared.agents.planted_two"),
    ("plug-ins", "shared.workspaces.planted_one", "shared.workspaces.planted_two"),
    ("no-io", "shared.domain.planted_io", "socket"),
    ("no-io", "shared.agents.planted_io", "asyncio"),
    ("no-io", "shared.agents.planted_process", "subprocess"),
    ("sql", "shared.operations.planted_sql", "sqlalchemy"),
    ("sql", "shared.events.planted_sql", "sqlalchemy"),
    ("sql", "api.resources.planted_sql", "sqlite3"),
    ("sql", "workers.host.planted_sql", "psycopg"),
    ("flask", "workers.host.planted_flask", "flask"),
    ("flask", "shared.operations.planted_flask", "marshmallow"),
    ("settings", "workers.host.planted_settings", "shared.settings"),
    ("settings", "shared.operations.planted_settings", "shared.settings"),
    ("owner-door", "shared.operations.planted_owner", "shared.events.owner"),
    ("owner-door", "workers.delivery.planted_owner", "shared.events.owner"),
    ("front-door", "workers.host.planted_front", "shared.events.front"),
    ("front-door", "api.resources.planted_front", "shared.events.front"),
]
ATTICS = ["shared", "api", "workers"]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory) -> dict[str, str]:
    """What lint-imports says of a copy that holds every violation, by the name of the contract."""
    copy = tmp_path_factory.mktemp("planted")
    for source in rooms():
        (copy / source.name).parent.mkdir(parents=True, exist_ok=True)
        (copy / source.name).write_text(source.text, encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for _, importer, imported in PLANTED:
        _plant(copy, importer, f"import {imported}\n")
    for target in ("shared.agents.planted_two", "shared.workspaces.planted_two"):
        _plant(copy, target, "")
    _plant(copy, "shared.store.planted_left", "import shared.store.planted_right\n")
    _plant(copy, "shared.store.planted_right", "import shared.store.planted_left\n")
    for attic in ATTICS:
        _plant(copy, f"{attic}.planted_attic", "")
    return _sections(_lint(copy))


def _plant(copy: Path, module: str, text: str) -> None:
    (copy / f"{module.replace('.', '/')}.py").write_text(text, encoding="utf-8")


def _lint(folder: Path) -> str:
    # A wide terminal, so that no line of the report is broken.
    lint = Path(sys.executable).parent / "lint-imports"
    argv = [str(lint), "--no-logo", "--no-cache"]
    ran = subprocess.run(
        argv, cwd=folder, env={**os.environ, "COLUMNS": "400"}, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def _sections(report: str) -> dict[str, str]:
    parts = re.split(r"\n(?P<name>[^\n]+)\n-{5,}\n", report.split("Broken contracts", 1)[-1])
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _contract_name(contract: str) -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf'^id = "{contract}"\nname = "(.+)"$', text, flags=re.MULTILINE)
    assert found, f"there is no contract {contract}"
    return found[1]


@pytest.mark.parametrize(("contract", "importer", "imported"), PLANTED)
def test_a_planted_import_breaks_its_contract(verdicts, contract, importer, imported):
    broken = verdicts.get(_contract_name(contract), "")

    assert re.search(rf"{re.escape(importer)} ?-> ?{re.escape(imported)}\b", broken)


@pytest.mark.parametrize("attic", ATTICS)
def test_a_room_nobody_declared_is_seen(verdicts, attic):
    broken = verdicts.get(_contract_name(f"{attic}-rooms"), "")

    assert "planted_attic" in broken


def test_a_cycle_is_seen(verdicts):
    assert ".planted_right -> .planted_left" in verdicts.get(_contract_name("no-cycles"), "")


def test_every_contract_is_proved_by_a_planted_import():
    declared = re.findall(r'^id = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert {contract for contract, _, _ in PLANTED} | {"no-cycles"} == set(declared)
