"""Loads the fixtures every test may ask for: real services, migrated databases, deadlines."""

from __future__ import annotations

import signal

pytest_plugins = [
    "tests.fixtures.valkey",
    "tests.fixtures.databases",
    "tests.fixtures.agents",
    "tests.fixtures.opencode",
    "tests.fixtures.fleet",
    "tests.fixtures.git_server",
    "tests.fixtures.ward",
    "tests.fixtures.api",
    "tests.fixtures.programs",
    "tests.fixtures.webhooks",
]


def pytest_configure() -> None:
    """A suite that a script started in the background has Ctrl-C ignored, and so had all it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
