"""A host reduced to its warden: starts what it is told, beats, tells each event as a JSON line. Tests kill it.

Arguments: freeze_s, beats (yes or no), sessions to keep when thawing (comma separated), then for each agent
session=directory=arguments of the hydra.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Collection
from pathlib import Path

from shared.domain.ids import SessionId
from shared.workspaces.kind import SpawnSpec
from workers.host.processes import Warden

HYDRA = Path(__file__).with_name("hydra.py")


def tell(**event: object) -> None:
    sys.stdout.write(f"{json.dumps(event)}\n")
    sys.stdout.flush()


async def main(freeze_s: float, beats: bool, keep: Collection[SessionId], agents: list[str]) -> None:
    frozen: asyncio.Queue[frozenset[SessionId]] = asyncio.Queue()
    lost = asyncio.Event()
    warden = await Warden.start(freeze_s=freeze_s, on_frozen=frozen.put_nowait, on_lost=lost.set)
    if beats:
        threading.Thread(target=beat, args=[warden, freeze_s / 10], daemon=True).start()
    processes = []
    for agent in agents:
        session, cwd, *arguments = agent.split("=")
        spec = SpawnSpec([sys.executable, "-I", "-S", str(HYDRA), *arguments], {"PATH": "/usr/bin:/bin"}, cwd)
        processes.append(await warden.spawn(SessionId(session), spec))
    tell(event="up", warden=warden.pid, agents=[process.pid for process in processes])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(thaw(warden, frozen, keep))
        await lost.wait()
        tell(event="lost", statuses=[(await process.wait()).signal for process in processes])


def beat(warden: Warden, pause_s: float) -> None:
    never = threading.Event()
    while not never.wait(pause_s):
        warden.beat()


async def thaw(warden: Warden, frozen: asyncio.Queue[frozenset[SessionId]], keep: Collection[SessionId]) -> None:
    while True:
        sessions = await frozen.get()
        tell(event="frozen", sessions=sorted(sessions))
        await warden.thaw(keep)


if __name__ == "__main__":
    kept = [SessionId(name) for name in sys.argv[3].split(",")]
    asyncio.run(main(float(sys.argv[1]), sys.argv[2] == "yes", kept, sys.argv[4:]))
