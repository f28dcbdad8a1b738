"""A demo agent, run as a process by the conformance suite's small host."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from shared.agents.demo.driver import DemoDriver
from shared.domain.session import Mode
from tests.conformance.harness import Hosted, options_for

COMMAND = (sys.executable, "-P", "-m", "cli.demo_agent")


@pytest.fixture
def host(tmp_path):
    """Starts an agent in some mode; ends what a test has left running."""
    running = []

    def start(mode=Mode.INTERACTIVE, **changes):
        line_limit = changes.pop("line_limit", 1 << 24)
        options = replace(options_for(tmp_path, COMMAND, mode), **changes)
        running.append(Hosted(DemoDriver(), options, line_limit=line_limit))
        return running[-1].__enter__()

    yield start
    for hosted in running:
        hosted.__exit__()
