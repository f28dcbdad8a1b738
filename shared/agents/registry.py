"""Every agent Corral can run, by name. A new one is a driver and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.agents.acp.cursor import CURSOR
from shared.agents.acp.driver import AcpDriver
from shared.agents.acp.gemini import GEMINI
from shared.agents.acp.generic import GENERIC
from shared.agents.acp.opencode import OPENCODE
from shared.agents.claude import hooks as claude_hooks
from shared.agents.claude.driver import ClaudeDriver
from shared.agents.codex.driver import CodexDriver
from shared.agents.demo.driver import DemoDriver
from shared.agents.driver import Driver
from shared.domain.errors import UnknownAgent
from shared.domain.report import ReportForm

_ACP: Final = tuple(map(AcpDriver, (GENERIC, CURSOR, GEMINI, OPENCODE)))
_ALL: Final[tuple[Driver, ...]] = (ClaudeDriver(), CodexDriver(), DemoDriver(), *_ACP)

DRIVERS: Final[Mapping[str, Driver]] = {driver.name: driver for driver in _ALL}

REPORT_FORMS: Final[Mapping[str, ReportForm]] = {ClaudeDriver.name: claude_hooks.FORM}
"""How agents that Corral does not host report to it, by name; not every agent can."""


def find(name: str) -> Driver:
    """The driver called `name`.

    Raises:
        UnknownAgent: there is none; the error lists those there are.
    """
    driver = DRIVERS.get(name)
    if driver is None:
        raise UnknownAgent(name, ", ".join(sorted(DRIVERS)))
    return driver
