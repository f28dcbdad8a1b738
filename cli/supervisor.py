"""Runs a few processes as one: starts them in order, restarts what dies, stops them in reverse."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final, TextIO

_NAME: Final = "corral"
"""The supervisor's own name among those of its parts."""

_COLOURS: Final = (36, 32, 33, 35, 34)
_PR_SET_PDEATHSIG: Final = 1
_PROBE_S: Final = 0.1
_LINE_BYTES: Final = 1024 * 1024

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the whole."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    is_ready: Probe
    ready_s: float = 60.0
    stop_s: float = 10.0
    """How long it may take to end after SIGTERM; then it is killed with its process group."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits before it starts a part again."""

    first_s: float = 0.5
    most_s: float = 30.0
    calm_s: float = 30.0
    """A part that ran this long had recovered: its next restart waits as little as the first."""


class PartFailed(Exception):
    """A part could not be started, was not ready in time, or ended before it was."""


class Supervisor:
    """Keeps parts running until told to stop."""

    def __init__(self, parts: Sequence[Part], *, out: TextIO = sys.stdout, patience: Patience | None = None) -> None:
        self._parts = parts
        self._out = out
        self._patience = patience or Patience()
        self._width = max(len(name) for name in (_NAME, *(part.name for part in parts)))
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._copies: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._uses_colour = out.isatty()

    def stop(self) -> None:
        """Begin to stop. A signal handler calls it; at the second call what still runs is killed at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start all parts, call `on_ready`, keep them running until `stop`, end them in reverse.

        Raises:
            PartFailed: a part did not become ready at the first start; the others are stopped. In a group.
        """
        async with asyncio.TaskGroup() as group:
            try:
                for part in self._parts:
                    await self._start(part, group)
                    if self._stopping.is_set():
                        return
                on_ready()
                await self._keep_all(group)
            finally:
                await self._stop_all()

    async def _keep_all(self, group: asyncio.TaskGroup) -> None:
        keepers = [group.create_task(self._keep(part, group)) for part in self._parts]
        await self._stopping.wait()
        self.say(_NAME, "stopping; once more kills what still runs")
        for keeper in keepers:
            keeper.cancel()
        # One of them may be in the middle of a start: what it started must be known before all are stopped.
        await asyncio.wait(keepers)

    async def _start(self, part: Part, group: asyncio.TaskGroup) -> None:
        # A pipe of our own: asyncio's would make `wait` wait for whoever holds it open, long after the part's end.
        ours, theirs = os.pipe()
        try:
            self._running[part.name] = process = await _spawn(part, theirs)
        except OSError as problem:
            os.close(ours)
            raise PartFailed(f"{part.name} could not be started: {problem}.") from problem
        finally:
            os.close(theirs)
        copy = group.create_task(self._copy(part, ours))
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)
        await self._until_ready(part, process)

    async def _until_ready(self, part: Part, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + part.ready_s
        while not self._stopping.is_set():
            if process.returncode is not None:
                raise PartFailed(f"{part.name} {_ended(process.returncode)} before it was ready.")
            if await part.is_ready():
                return
            if time.monotonic() > deadline:
                raise PartFailed(f"{part.name} was not ready within {part.ready_s:g} s.")
            await asyncio.sleep(_PROBE_S)

    async def _keep(self, part: Part, group: asyncio.TaskGroup) -> None:
        delay_s = self._patience.first_s
        while True:
            began_s = time.monotonic()
            status = await self._running[part.name].wait()
            if time.monotonic() - began_s > self._patience.calm_s:
                delay_s = self._patience.first_s
            self.say(_NAME, f"{part.name} {_ended(status)}; it is started again in {delay_s:g} s")
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, self._patience.most_s)
            await self._restart(part, group)

    async def _restart(self, part: Part, group: asyncio.TaskGroup) -> None:
        try:
            await self._start(part, group)
        except PartFailed as problem:
            self.say(_NAME, str(problem))
            await self._end(part)
        else:
            self.say(_NAME, f"{part.name} is back")

    async def _copy(self, part: Part, pipe: int) -> None:
        reader = asyncio.StreamReader(limit=_LINE_BYTES)
        file = os.fdopen(pipe, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        with closing(transport):
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    # Longer than the limit: its rest comes as the next line.
                    continue
                if not line:
                    return
                self.say(part.name, line.decode(errors="replace").rstrip())

    async def _stop_all(self) -> None:
        for part in reversed(self._parts):
            await self._end(part)
        if self._copies:
            # What a part left running may hold its output open; nobody waits for that.
            await asyncio.wait(self._copies, timeout=1.0)
        for copy in self._copies:
            copy.cancel()

    async def _end(self, part: Part) -> None:
        """End a part that runs: TERM, and KILL for its group after its time or when there is no time left."""
        process = self._running.get(part.name)
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        async with asyncio.TaskGroup() as group:
            ways = [group.create_task(process.wait()), group.create_task(self._hurry.wait())]
            await asyncio.wait(ways, timeout=part.stop_s, return_when=asyncio.FIRST_COMPLETED)
            if process.returncode is None:
                self.say(_NAME, f"{part.name} is killed")
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            ways[1].cancel()

    def say(self, name: str, text: str) -> None:
        """One line of one part, or our own. With the terminal gone it is nobody's any more."""
        label = f"{name:<{self._width}} |"
        if self._uses_colour:
            place = next((n for n, part in enumerate(self._parts) if part.name == name), 0)
            label = f"\x1b[{_COLOURS[place % len(_COLOURS)]}m{label}\x1b[0m"
        with suppress(OSError, ValueError):
            print(label, text, file=self._out, flush=True)


async def _spawn(part: Part, output: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *part.argv,
        env=dict(part.env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        # A group of its own: a Ctrl-C in the terminal reaches only us, and we stop the parts in order.
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()) if sys.platform == "linux" else None,
    )


def _ended(status: int) -> str:
    return f"ended with status {status}" if status >= 0 else f"was ended by signal {-status}"


def _die_with(parent: int) -> Callable[[], None]:
    # Loaded here: between fork and exec only what is certain to be there may be called.
    prctl = ctypes.CDLL(None).prctl

    def ask_for_it() -> None:
        # KILL, not TERM: nobody is left who would restart or follow a part that takes its time to end. A killed
        # worker's warden ends its agents, and the next start takes up what the rows say.
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask_for_it


async def answers(host: str, port: int, path: str) -> bool:
    """Whether an HTTP server there answers `path` with 200."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 1.0)
    except (OSError, TimeoutError):
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status = await asyncio.wait_for(reader.readline(), 2.0)
    except (OSError, TimeoutError, ValueError):
        return False
    finally:
        writer.close()
    return b" 200 " in status
