"""What an agent of the same user may read of the processes beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Root reads everything, so the process becomes an ordinary user first; the kernel hides it for that alone, hence
# the mark is set back to what a process has that was an ordinary user's from the start.
PARENT = """
import ctypes, os, subprocess, sys
from cli.secrecy import hide_from_agents
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "hides":
    hide_from_agents()
sys.exit(subprocess.run(["/bin/sh", "-c", "cat /proc/$PPID/environ"], cwd="/").returncode)
"""


@pytest.mark.parametrize("hides", [True, False])
def test_an_agent_cannot_read_the_environment_of_a_process_that_hides_it(*, hides: bool) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PARENT, "hides" if hides else "shows"],
        env={"PATH": os.environ["PATH"], "CORRAL_SECRET_KEY": "canary", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("canary" in ran.stdout) is not hides, ran.stderr
    assert (ran.returncode != 0) is hides
