"""The home directory: private files, and one `corral up` at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.home import find_home, open_home, write_private

HOLD = """
import sys
from cli.home import open_home
with open_home(sys.argv[1]).occupied():
    print("held", flush=True)
    input()
"""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_home_is_made_closed_to_others(tmp_path):
    home = open_home(str(tmp_path / "deep" / "home"))

    assert mode(home.root) == 0o700
    assert mode(home.workspaces) == 0o700
    assert mode(home.redis) == 0o700
    home.secret_key()
    assert mode(home.root / "secret_key") == 0o600


def test_looking_for_a_home_makes_none(tmp_path):
    home = find_home(str(tmp_path / "home"))

    assert home.occupant() is None
    assert not home.root.exists()


def test_the_secret_key_of_a_home_stays(tmp_path):
    home = open_home(str(tmp_path))

    assert home.secret_key() == home.secret_key()
    assert len(home.secret_key()) >= 32


def test_a_private_file_replaces_an_open_one_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("what was there")
    path.chmod(0o644)

    write_private(path, "new")

    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_home_is_occupied_by_one_alone(tmp_path):
    home = open_home(str(tmp_path))

    with home.occupied():
        assert home.occupant() == os.getpid()
        with (
            pytest.raises(click.ClickException, match=f"already runs on .* \\(process {os.getpid()}\\)"),
            home.occupied(),
        ):
            pass

    assert home.occupant() is None


def test_a_killed_occupant_frees_the_home(tmp_path):
    home = open_home(str(tmp_path))
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert home.occupant() == holder.pid
        holder.kill()

    assert home.occupant() is None
    with home.occupied():
        assert home.occupant() == os.getpid()


def test_a_process_id_somebody_left_means_nothing(tmp_path):
    home = open_home(str(tmp_path))
    home.pid.write_text(f"{os.getpid()}\n")

    assert home.occupant() is None
