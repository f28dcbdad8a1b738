"""The papers: links that lead somewhere, news that can be gathered, scripts that parse, a wheel that is whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, rooms

NEWS = re.compile(r"news/[a-z0-9]+(-[a-z0-9]+)*\.(added|changed|fixed|removed|security)\.md")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def _pages():
    return [name for name in files() if name.endswith(".md") and not name.startswith(("dashboard/", "tests/"))]


@pytest.mark.parametrize("name", _pages())
def test_every_link_of_a_page_leads_to_a_file(name):
    text = FENCE.sub("", (ROOT / name).read_text(encoding="utf-8"))

    lost = [
        target
        for target in LINK.findall(text)
        if "://" not in target
        and not target.startswith("mailto:")
        and not ((ROOT / name).parent / target).resolve().exists()
    ]

    assert not lost


def test_news_can_be_gathered():
    unclear = [
        name for name in files() if name.startswith("news/") and name != "news/README.md" and not NEWS.fullmatch(name)
    ]

    assert not unclear, "news/README.md says how they are named"


@pytest.mark.parametrize("script", sorted(str(path.relative_to(ROOT)) for path in (ROOT / ".ci").iterdir()))
def test_a_script_parses_stops_at_errors_and_may_be_run(script):
    path = ROOT / script
    text = path.read_text(encoding="utf-8")

    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_makefile_knows_every_command_of_the_papers():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, flags=re.MULTILINE))
    named = {
        (name, target)
        for name in _pages()
        for target in re.findall(
            r"(?:^|`)make ([a-z-]+)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    }

    assert not {(name, target) for name, target in named if target not in targets}


def test_a_command_runs_every_test():
    named = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + (ROOT / "Makefile").read_text(encoding="utf-8")
    folders = {"/".join(Path(name).parts[:2]) for name in files() if re.fullmatch(r"tests/.*/test_\w+\.py", name)}

    assert not {folder for folder in folders if folder not in named}


def test_the_wheel_holds_every_room(tmp_path):
    copy = tmp_path / "checkout"
    for source in rooms():
        (copy / source.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source.name, copy / source.name)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)

    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatchling, cwd=copy, check=True, capture_output=True)

    (wheel,) = Path(tmp_path).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {source.name for source in rooms()} <= held
