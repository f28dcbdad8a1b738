"""Keeps a process's environment and memory from the agents of the same user."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def hide_from_agents() -> None:
    """Make `/proc/<this process>/environ` and `mem` root's alone (Linux; elsewhere nothing happens).

    An agent without walls runs as the worker's user, and the environment holds the database's password and the
    secret key. The kernel takes the mark off again at exec, so agents themselves are not affected. Root sees
    everything still: do not run workers as root.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
