"""What a worker tells of its agents: each as soon as it is known, the missing ones again."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field

from shared.agents.registry import DRIVERS
from workers.host.inventory import Inventory


@dataclass
class Peers:
    """Hears what is told; away the first time."""

    left: threading.Event
    told: list[dict] = field(default_factory=list)
    offers: int = 0

    def tell(self, found: dict) -> bool:
        self.told.append(found)
        if len(self.told) == 3:
            self.left.set()
        return len(self.told) > 1

    def offer(self) -> None:
        self.offers += 1


def test_what_was_missing_is_looked_for_again_and_told_once_it_is_there(tmp_path) -> None:
    program, left = tmp_path / "agent", threading.Event()
    peers = Peers(left)

    def offer() -> None:
        peers.offer()
        # Somebody installs it after the first look.
        program.write_text(f"#!{sys.executable}\nprint('demo 1')\n")
        program.chmod(0o700)

    inventory = Inventory([DRIVERS["demo"]], {"demo": str(program)}, {}, peers.tell, offer, again_s=0.01)
    inventory.keep(left)

    assert [found["demo"]["ready"] for found in peers.told] == [False, False, True]
    assert peers.told[-1]["demo"]["version"] == "demo 1"
    assert peers.offers == 2
