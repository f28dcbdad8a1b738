"""Which agents this worker can start: looked for when it comes up, and those that are missing again and again.

A worker hosts only sessions whose agent it has told its peers it can start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Final

from shared.agents.driver import Driver
from shared.domain.json import JsonObject
from workers.host import locate

_TELL_S: Final = 1.0
AGAIN_S: Final = 60.0
"""Between two looks for agents that are missing: somebody may install one, or the machine was too busy to answer."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Looks for agents' programs and tells what it found. Blocking: it has a thread of its own."""

    drivers: Collection[Driver]
    commands: Mapping[str, str]
    environ: Mapping[str, str] = field(repr=False)
    """What agents are given: an account may be named there."""
    tell: Callable[[JsonObject], bool]
    """Makes known what was found so far, by agent; False: try again."""
    on_more: Callable[[], None]
    """Sessions with another agent can be hosted from now on."""
    again_s: float = AGAIN_S
    _found: JsonObject = field(default_factory=dict)

    def keep(self, left: threading.Event) -> None:
        """Look and tell until every agent is there, or `left` is set."""
        missing = list(self.drivers)
        while missing and not left.is_set():
            missing = self._look(missing, left)
            if missing and left.wait(self.again_s):
                return

    def _look(self, wanted: Collection[Driver], left: threading.Event) -> list[Driver]:
        """Those of `wanted` that are not ready. Each is told as soon as it is known: a slow one delays no other."""
        missing: list[Driver] = []
        with ThreadPoolExecutor(len(wanted), thread_name_prefix="probe") as probes:
            looks = {probes.submit(locate.probe, driver, self.commands, self.environ): driver for driver in wanted}
            for look in as_completed(looks):
                found = look.result()
                is_news = self._found.get(found.agent) != found.as_json()
                self._found[found.agent] = found.as_json()
                if not found.is_ready:
                    missing.append(looks[look])
                if is_news:
                    self._told(left)
                    self.on_more()
        return missing

    def _told(self, left: threading.Event) -> None:
        while not self.tell(dict(self._found)):
            if left.wait(_TELL_S):
                return
