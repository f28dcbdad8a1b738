"""What a host is handed by its composition root, and the threads it shares among its sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar

from shared.agents.driver import Driver
from shared.channel.publisher import Publisher
from shared.domain.ids import Incarnation, SessionId
from shared.domain.prices import PriceTable
from shared.settings.groups import Times
from shared.store.database import Database, DatabaseAway
from shared.store.sealing import Sealer
from shared.workspaces.kind import Kind, SpawnSpec, Volume
from workers.host.agent_process import Process
from workers.host.egress.dial import Resolve, system_resolver
from workers.host.egress.policy import Policy

P = ParamSpec("P")
T = TypeVar("T")

SQL_THREADS: Final = 4
DISK_THREADS: Final = 8
AWAY_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)


class Keeper(Protocol):
    """The warden's client, `processes.Warden`."""

    @property
    def pid(self) -> int:
        """The warden's process."""
        ...

    async def spawn(self, session: SessionId, spec: SpawnSpec) -> Process:
        """Start a process of a session."""
        ...

    def beat(self, age_s: float = 0.0) -> None:
        """The host may go on: it took a beat that was begun age_s seconds ago."""
        ...

    async def thaw(self, keep: Collection[SessionId]) -> None:
        """Continue the frozen sessions in `keep`, kill the others."""
        ...

    async def kill(self, session: SessionId) -> None:
        """Kill every process of a session."""
        ...

    async def close(self) -> None:
        """Kill every agent and end."""
        ...


StartWarden = Callable[[Callable[[frozenset[SessionId]], None], Callable[[], None]], Awaitable[Keeper]]
"""Starts a warden, given what to call when it froze sessions and when it is lost."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything a host needs of this machine and this process."""

    database: Database
    sealer: Sealer
    publisher: Publisher
    volume: Volume
    kinds: Mapping[str, Kind]
    drivers: Mapping[str, Driver]
    commands: Mapping[str, str]
    """Agents' programs as the operator configured them, by agent; others are looked for on PATH."""
    times: Times
    agent_start_s: float
    """An agent that is not ready within this time is ended."""
    incarnation: Incarnation
    name: str
    capacity: int
    start_warden: StartWarden
    environ: Mapping[str, str] = field(repr=False)
    """The worker's own environment; agents get an allow-list of it."""
    child_env: Mapping[str, str] = field(repr=False)
    allow_bypass: bool = False
    attach_folders: Sequence[Path] = ()
    """Where transcripts of conversations lie that were begun outside of Corral and may be gone on with."""
    prices: PriceTable = field(default_factory=PriceTable)
    """What tokens cost where an agent does not tell."""
    egress: Policy | None = None
    """Where agents may go, where the walls of this worker hold them to it; None: wherever the machine may."""
    resolve: Resolve = field(default_factory=system_resolver)
    """Where the names lead that they want to reach."""


class Threads:
    """Where blocking work is done: a few threads for SQL, others for disks, so that a slow clone holds up no query."""

    def __init__(self) -> None:
        self._sql = ThreadPoolExecutor(SQL_THREADS, thread_name_prefix="host-sql")
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="host-disk")

    async def sql(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short piece of SQL."""
        return await asyncio.get_running_loop().run_in_executor(self._sql, lambda: work(*args, **kwargs))

    async def patiently(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, again and again for as long as the database is away."""
        pauses = iter(AWAY_PAUSES_S)
        pause_s = 0.0
        while True:
            try:
                return await self.sql(work, *args, **kwargs)
            except DatabaseAway:
                pause_s = next(pauses, pause_s)
                await asyncio.sleep(pause_s)

    async def disk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what waits for a disk or a network. A cancelled caller waits for it too: half done, it cannot be left."""
        running = asyncio.get_running_loop().run_in_executor(self._disk, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise

    def close(self) -> None:
        """Take no more work; what runs is left to its end."""
        self._sql.shutdown(wait=False, cancel_futures=True)
        self._disk.shutdown(wait=False, cancel_futures=True)
