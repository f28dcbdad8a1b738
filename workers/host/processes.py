"""The host's side of the warden: start agents, talk to them, stop them, and learn at once when the warden is lost.

All agents are the warden's children, so that they end with the host however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from shared.agents.driver import ExitStatus
from shared.domain.errors import SpawnFailed, WardenLost
from shared.domain.ids import SessionId
from shared.workspaces.kind import SpawnSpec
from workers.host import orphans, pipes, tree, wire
from workers.host.agent_process import Process
from workers.host.lines import LineBudget, LineSplitter

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from workers.host.warden import main; main()"
READY_S = 15.0
SPAWN_S = 30.0
CLOSE_S = 15.0
LINE_LIMIT = 16 * 1024 * 1024
LINE_TOTAL = 64 * 1024 * 1024
PROCESS_LIMIT = 1024
KILLED = ExitStatus(signal=int(signal.SIGKILL))


class Warden:
    """A running warden. Made by `start`, ended by `close` (or as an async context manager). For one loop."""

    def __init__(
        self,
        program: subprocess.Popen[bytes],
        channel: socket.socket,
        *,
        on_frozen: Callable[[frozenset[SessionId]], None],
        on_lost: Callable[[], None],
        lines: tuple[int, LineBudget],
    ) -> None:
        self._program = program
        self._channel = channel
        self._on_frozen = on_frozen
        self._on_lost = on_lost
        self._line_limit, self._line_budget = lines
        self._loop = asyncio.get_running_loop()
        self._born = seen.started if (seen := tree.look(program.pid)) else 0
        self._numbers = itertools.count(1)
        self._outbox: deque[tuple[wire.Message, list[int]]] = deque()
        self._sending = threading.Lock()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._spawning: dict[int, asyncio.Future[int]] = {}
        self._processes: dict[int, Process] = {}
        self._kills: dict[int, asyncio.Future[None]] = {}
        self._is_open = True
        self._settled = asyncio.Event()
        self._loop.add_reader(channel.fileno(), self._listen)

    @classmethod
    async def start(
        cls,
        *,
        freeze_s: float,
        on_frozen: Callable[[frozenset[SessionId]], None],
        on_lost: Callable[[], None],
        line_limit: int = LINE_LIMIT,
        line_total: int = LINE_TOTAL,
        process_limit: int = PROCESS_LIMIT,
    ) -> Warden:
        """Start a warden that freezes all agents when it has heard no beat for freeze_s.

        A session with more than process_limit processes at once is taken for a fork bomb and killed; its exit's
        `stderr_tail` says so.

        Both callbacks run on this loop and must not block. `on_frozen` gets the sessions that were stopped; each
        stays so until `thaw`. `on_lost` says that the warden ended unasked: by then every agent is killed, every
        process has its exit status, and a new warden must be started. This process becomes the parent of
        orphans beneath it (PR_SET_CHILD_SUBREAPER), so that a lost warden's agents can be found.

        Raises:
            WardenLost: it did not come up.
        """
        tree.adopt_orphans()
        ours, theirs = wire.pair()
        ours.setblocking(False)
        with theirs:
            program = await asyncio.to_thread(_launch, theirs, freeze_s, process_limit)
        lines = (line_limit, LineBudget(line_total))
        warden = cls(program, ours, on_frozen=on_frozen, on_lost=on_lost, lines=lines)
        try:
            async with asyncio.timeout(READY_S):
                await warden._ready
        except BaseException as trouble:
            await warden.close()
            if isinstance(trouble, TimeoutError):
                raise WardenLost from trouble
            raise
        return warden

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        """The warden's process: what `kill_marked` must spare."""
        return self._program.pid

    async def spawn(self, session: SessionId, spec: SpawnSpec) -> Process:
        """Start a process with exactly the environment of `spec` and the session's mark.

        While what an earlier process of the session left is being killed, this waits for it.

        Raises:
            SpawnFailed: no such program, no permission, no such directory, too long a command; nothing is left.
            WardenLost: there is no warden any more.
        """
        program = os.path.basename(spec.argv[0]) if spec.argv else ""  # noqa: PTH119 - a name, no path of ours
        if not program:
            raise SpawnFailed("(no program)", "exec", "the command is empty")
        if not self._is_open:
            raise WardenLost
        try:
            ours, theirs = pipes.make()
        except OSError as trouble:
            raise SpawnFailed(program, "pipe", trouble.strerror or "no pipe") from trouble
        number = next(self._numbers)
        process = Process(self, session, ours, LineSplitter(limit=self._line_limit, budget=self._line_budget))
        self._processes[number] = process
        self._spawning[number] = self._loop.create_future()
        message: wire.Message = {
            "op": "spawn",
            "id": number,
            "session": session,
            "argv": list(spec.argv),
            "env": {**spec.env, tree.MARK: session},
            "cwd": spec.cwd,
        }
        self._post(message, theirs)
        try:
            async with asyncio.timeout(SPAWN_S):
                process.pid = await self._spawning[number]
        except BaseException as trouble:
            self._abandon(number, session)
            raise _spawn_failure(program, trouble) from trouble
        finally:
            self._spawning.pop(number, None)
        return process

    def beat(self, age_s: float = 0.0) -> None:
        """Tell the warden that this host lived age_s seconds ago and may go on.

        From any thread; never blocks; a lost beat is lost.
        """
        with self._sending, contextlib.suppress(OSError):
            if self._is_open:
                wire.send(self._channel, {"op": "beat", "age_ms": int(age_s * 1000)}, [])

    async def thaw(self, keep: Collection[SessionId]) -> None:
        """Continue the frozen sessions in `keep` and kill the other frozen ones. Counts as a beat."""
        self._post({"op": "thaw", "keep": sorted(keep)}, [])

    def signal(self, session: SessionId, number: int) -> None:
        """Send a signal to the process group of the session's leader. Unheard when there is none."""
        self._post({"op": "signal", "session": session, "number": int(number)}, [])

    async def kill(self, session: SessionId) -> None:
        """Kill every process of `session`, also those that left its tree. Returns when none is left. Idempotent."""
        if not self._is_open:
            await self._settled.wait()
            return
        number = next(self._numbers)
        self._kills[number] = self._loop.create_future()
        self._post({"op": "kill", "session": session, "id": number}, [])
        await asyncio.shield(self._kills[number])

    async def close(self) -> None:
        """Kill every agent and end the warden. Idempotent; `on_lost` is not called."""
        if self._is_open:
            self._hang_up()
            await asyncio.to_thread(self._see_out)
            self._settle()
        await self._settled.wait()

    # --- the wire -------------------------------------------------------------------------------------------

    def _post(self, message: wire.Message, descriptors: list[int]) -> None:
        if self._is_open:
            self._outbox.append((message, descriptors))
            self._flush()
        else:
            pipes.close(descriptors)

    def _flush(self) -> None:
        if not self._is_open:
            return
        try:
            with self._sending:
                while self._outbox:
                    wire.send(self._channel, *self._outbox[0])
                    pipes.close(self._outbox.popleft()[1])
        except BlockingIOError:
            self._loop.add_writer(self._channel.fileno(), self._flush)
        except OSError:
            # The end of the warden is heard where its words are heard.
            self._loop.remove_writer(self._channel.fileno())
        else:
            self._loop.remove_writer(self._channel.fileno())

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._is_open:
                heard = wire.receive(self._channel)
                if heard is None:
                    self._lose()
                else:
                    pipes.close(heard[1])
                    self._hear(heard[0])

    def _hear(self, message: wire.Message) -> None:
        number = message.get("id")
        match message["op"], number:
            case "ready", _:
                self._ready.set_result(None)
            case "frozen", _:
                sessions = message["sessions"]
                self._on_frozen(frozenset(map(SessionId, sessions if isinstance(sessions, list) else [])))
            case "spawned", int():
                _resolve(self._spawning.get(number), _whole(message["pid"]))
            case "failed", int():
                problem = os.strerror(_whole(message["errno"]))
                _reject(self._spawning.get(number), SpawnFailed("", str(message["step"]), problem))
            case "exit", int():
                if process := self._processes.pop(number, None):
                    process.ended(_status(message))
            case "gone", int():
                _resolve(self._kills.pop(number, None), None)

    # --- ends -------------------------------------------------------------------------------------------------

    def _abandon(self, number: int, session: SessionId) -> None:
        process = self._processes.pop(number, None)
        if process:
            process.dispose()
            future = self._spawning[number]
            # The caller went away before the answer: what is being started must not stay.
            if not (future.done() and not future.cancelled() and future.exception()):
                self._post({"op": "kill", "session": session, "id": 0}, [])

    def _hang_up(self) -> None:
        self._loop.remove_reader(self._channel.fileno())
        self._loop.remove_writer(self._channel.fileno())
        with self._sending:
            self._is_open = False
            self._channel.close()
        while self._outbox:
            pipes.close(self._outbox.popleft()[1])

    def _see_out(self) -> None:
        try:
            self._program.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
        if self._program.returncode:
            orphans.kill_orphans(since=self._born)

    def _lose(self) -> None:
        self._hang_up()
        self._program.kill()
        ended = self._loop.run_in_executor(None, self._see_out)
        ended.add_done_callback(self._mourn)

    def _mourn(self, _: asyncio.Future[None]) -> None:
        self._settle()
        self._on_lost()

    def _settle(self) -> None:
        orphans.WARDENS.discard(self._program.pid)
        _reject(self._ready, WardenLost())
        for spawning in self._spawning.values():
            _reject(spawning, WardenLost())
        for kill in self._kills.values():
            _resolve(kill, None)
        for process in self._processes.values():
            process.ended(KILLED)
        self._kills.clear()
        self._processes.clear()
        self._settled.set()


def _launch(channel: socket.socket, freeze_s: float, process_limit: int) -> subprocess.Popen[bytes]:
    # A session of its own: what is sent to the worker's group must not reach the warden. No environment: an
    # agent can read that of its parent.
    argv = [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT), str(channel.fileno()), str(freeze_s)]
    argv.append(str(process_limit))
    program = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[channel.fileno()],
        start_new_session=True,
        cwd="/",
        env={},
    )
    orphans.WARDENS.add(program.pid)
    return program


def _status(message: wire.Message) -> ExitStatus:
    code, number, note = message.get("code"), message.get("signal"), message.get("note")
    return ExitStatus(
        code=code if isinstance(code, int) else None,
        signal=number if isinstance(number, int) else None,
        stderr_tail=str(note or ""),
    )


def _spawn_failure(program: str, trouble: BaseException) -> BaseException:
    match trouble:
        case SpawnFailed():
            return SpawnFailed(program, str(trouble.facts["step"]), str(trouble.facts["problem"]))
        case TimeoutError():
            return SpawnFailed(program, "exec", f"it did not begin within {SPAWN_S:g} s")
    return trouble


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _resolve(future: asyncio.Future[T] | None, value: T) -> None:
    if future and not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[T] | None, trouble: Exception) -> None:
    if future and not future.done():
        future.set_exception(trouble)
