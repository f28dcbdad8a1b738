"""One agent's only way out: a proxy on sockets of the agent's own network, which its bridge hands over at the start.

For the loop. It serves until its agent has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from shared.workspaces.kind import SpawnSpec
from workers.host.egress import bridge
from workers.host.egress.dial import Dialer
from workers.host.egress.gate import Gate
from workers.host.egress.proxy import Proxy
from workers.host.egress.request import Authority

log = structlog.get_logger(__name__)

SOCKET: Final = "proxy"
BRIDGE: Final = "bridge.py"
PAUSE_S: Final = 0.1
"""After an accept that failed for want of descriptors."""


class Outlet:
    """Made by `open`, closed by `close`; in between its agent is started with `through`, and `serving` serves it."""

    def __init__(self, gate: Gate, dialer: Dialer, folder: Path, channel: socket.socket) -> None:
        self.folder = folder
        """Holds the bridge and the socket it finds: all of Corral that walls must show to an agent."""
        self._channel = channel
        self._doors: Sequence[Authority] = tuple({one.port: one for one in gate.policy.doors}.values())
        self._proxy = Proxy(gate, dialer)

    @classmethod
    def open(cls, gate: Gate, dialer: Dialer) -> Outlet:
        """Make the folder and its socket. Blocks on disk.

        Raises:
            OSError: there is no room for it.
        """
        folder = Path(tempfile.mkdtemp(prefix="corral-egress-"))
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            shutil.copyfile(bridge.__file__, folder / BRIDGE)
            channel.setblocking(False)
            channel.bind(str(folder / SOCKET))
            channel.listen(1)
        except BaseException:
            channel.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(gate, dialer, folder, channel)

    def through(self, spec: SpawnSpec) -> SpawnSpec:
        """The same process, begun by the bridge."""
        ports = ",".join(str(door.port) for door in self._doors)
        # Neither the agent's environment nor its folders may say what this Python loads.
        begin = [sys.executable, "-I", "-S", str(self.folder / BRIDGE), str(self.folder / SOCKET), ports, "--"]
        return SpawnSpec(argv=[*begin, *spec.argv], env=spec.env, cwd=spec.cwd)

    def close(self) -> None:
        """Let nothing out any more. Idempotent."""
        self._channel.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve the agent, which was just started, for as long as this lasts; then close."""
        try:
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(self._serve())
                try:
                    yield
                finally:
                    serving.cancel()
        finally:
            self.close()

    async def _serve(self) -> None:
        try:
            listening = await self._take_sockets()
        except OSError as problem:
            # The bridge fails then, and with it the start.
            log.warning("egress.no_bridge", problem=str(problem))
            return
        with contextlib.ExitStack() as stack:
            for one in listening:
                stack.enter_context(one)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._accept(tasks, listening[0], None))
                for one, door in zip(listening[1:], self._doors, strict=True):
                    tasks.create_task(self._accept(tasks, one, door))

    async def _take_sockets(self) -> Sequence[socket.socket]:
        """What the bridge hands over. Nobody is listened to after it: what follows in there is the agent."""
        loop = asyncio.get_running_loop()
        caller, _ = await loop.sock_accept(self._channel)
        with caller:
            self.close()
            await _readable(loop, caller)
            _, numbers, _, _ = socket.recv_fds(caller, 1, 1 + len(self._doors))
            listening = [socket.socket(fileno=number) for number in numbers]
            if len(listening) != 1 + len(self._doors) or not all(map(_is_listening, listening)):
                for one in listening:
                    one.close()
                raise OSError("these are not the sockets of a bridge")
            for one in listening:
                one.setblocking(False)
            await loop.sock_sendall(caller, b"s")
        return listening

    async def _accept(self, tasks: asyncio.TaskGroup, listening: socket.socket, door: Authority | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._proxy.room()
            try:
                caller, _ = await loop.sock_accept(listening)
            except OSError as problem:
                log.warning("egress.not_accepted", problem=str(problem))
                self._proxy.leave()
                await asyncio.sleep(PAUSE_S)
            else:
                tasks.create_task(self._proxy.serve(caller, door))


def _is_listening(one: socket.socket) -> bool:
    is_ours = one.family == socket.AF_INET and one.type == socket.SOCK_STREAM
    return is_ours and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


async def _readable(loop: asyncio.AbstractEventLoop, one: socket.socket) -> None:
    heard = asyncio.Event()
    loop.add_reader(one, heard.set)
    try:
        await heard.wait()
    finally:
        loop.remove_reader(one)
