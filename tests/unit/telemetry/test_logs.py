"""Log lines: each says which process it is from, whichever thread wrote it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from shared.telemetry import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("restored")
def test_a_line_written_by_a_thread_names_its_process_too(capsys):
    logs.set_up(process="worker", level="info", form="json")
    log = structlog.get_logger("test")

    log.info("here")
    thread = threading.Thread(target=lambda: log.info("there"))
    thread.start()
    thread.join(10)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["process"]) for line in lines] == [("here", "worker"), ("there", "worker")]
