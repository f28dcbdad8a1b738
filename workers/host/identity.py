"""Who a worker is: its name and this life of it, its disk, its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.ids import Incarnation
from shared.store.database import Database
from shared.store.sealing import Sealer
from shared.workspaces.kind import Volume


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is, and what it works with."""

    incarnation: Incarnation
    name: str
    earlier: Mapping[Incarnation, int]
    """Earlier lives of the name that beat no more, and where their counters stand."""
    volume: Volume
    database: Database
    sealer: Sealer
