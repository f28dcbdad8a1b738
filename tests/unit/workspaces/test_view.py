"""What agents are shown is what the operator names, and never a home, the volume or the database's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.workspaces import view


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A home with tools in it, and a volume beside."""
    for folder in ("home/.pyenv/shims", "home/tools/bin", "home/lib/node_modules/agent/bin", "volume/sessions"):
        (tmp_path / folder).mkdir(parents=True)
    program = tmp_path / "home/lib/node_modules/agent/bin/agent.js"
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    (tmp_path / "home/tools/bin/agent").symlink_to(program)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path


def shown(machine: Path, **given: str) -> set[str]:
    seen = view.make(given=given, commands=[["agent"]], more=[], hidden=[machine / "volume"])
    return {str(path.relative_to(machine)) for path in seen.shown if path.is_relative_to(machine)}


def test_an_agents_program_is_shown_with_the_modules_it_loads(machine):
    assert shown(machine, PATH=str(machine / "home/tools/bin")) == {"home/tools/bin", "home/lib/node_modules"}


def test_a_folder_of_shims_is_shown_with_what_they_start(machine):
    assert shown(machine, PATH=str(machine / "home/.pyenv/shims")) == {"home/.pyenv"}


@pytest.mark.parametrize("folder", ["", "home", "volume", "home/shims", "nowhere"])
def test_no_variable_shows_a_home_or_the_volume(machine, folder):
    named = str(machine / folder)

    assert shown(machine, PATH=os.pathsep.join([named, "bin", ""]), TOOLS=named) == set()


def test_what_a_program_loads_is_set_inside_the_walls_alone():
    env = {"LD_PRELOAD": "/w/evil.so", "GLIBC_TUNABLES": "x=1", "TERM": "dumb", "TOKEN": "hush"}

    assert view.outside(env) == {"TERM": "dumb", "TOKEN": "hush"}
    assert view.inside("/usr/bin/env", env) == ["/usr/bin/env", "LD_PRELOAD=/w/evil.so", "GLIBC_TUNABLES=x=1"]
    assert view.inside("/usr/bin/env", {"TOKEN": "hush"}) == []
