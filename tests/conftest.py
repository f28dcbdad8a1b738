"""Loads the fixtures every test may ask for: real services, migrated databases, deadlines."""

from __future__ import annotations

pytest_plugins = [
    "tests.fixtures.valkey",
    "tests.fixtures.databases",
    "tests.fixtures.agents",
    "tests.fixtures.opencode",
    "tests.fixtures.fleet",
    "tests.fixtures.ward",
    "tests.fixtures.api",
    "tests.fixtures.programs",
    "tests.fixtures.webhooks",
]
