"""The warden: a small process beside each worker that is the parent of its agents and outlives it by a moment.

No beat from the host: it freezes them. The host gone: it kills them, whole trees. It knows nothing else; what
it may import is little, so that it starts at once and stays small. `processes.py` is the host's side.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable

from workers.host import spawning, tree, wire
from workers.host.lives import Lives, Loop

WALK_S = 0.25
"""Between two looks at who is there."""
TEND_S = 0.005
"""Between two steps of an end."""
END_S = 10.0
"""How long the processes of a lost host are given to die of SIGKILL (some hang in the kernel)."""
EAGER = 5
"""How much the warden is nicer to itself than to its agents, where it may be."""


class Watch(Loop):
    """The warden's loop. One thread; waits for nothing but its own poll."""

    def __init__(self, host: socket.socket, *, freeze_s: float, process_limit: int, niceness: int) -> None:
        self._host = host
        self._freeze_s = freeze_s
        self._outbox: deque[wire.Message] = deque()
        self._beat_at = self._walk_at = time.monotonic()
        self._host_gone = False
        self._reaped = 0
        self._bell = _child_bell()
        self._answers: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()
        self._lives = Lives(self, niceness=niceness, process_limit=process_limit)
        self.watch(self._host.fileno(), self._listen)
        self.watch(self._bell, self._hear_bell)

    def run(self) -> None:
        """Serve the host until it is gone, then end everything."""
        self.tell(op="ready")
        self._flush()
        while not self._host_gone:
            self._turn()
        for session in self._lives.live:
            self._lives.end(session)
        deadline = time.monotonic() + END_S
        while self._lives.are_ending and time.monotonic() < deadline:
            self._turn()
        tree.end(_all_beneath, within_s=END_S)

    def watch(self, descriptor: int, answer: Callable[[], None]) -> None:
        self._answers[descriptor] = answer
        self._poll.register(descriptor, select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        del self._answers[descriptor]
        self._poll.unregister(descriptor)

    def tell(self, **message: object) -> None:
        self._outbox.append(message)

    def reap(self) -> int:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._reaped += 1
                self._lives.bury(*ended)
        return self._reaped

    def _turn(self) -> None:
        for descriptor, _ in self._poll.poll(self._pause_ms()):
            if answer := self._answers.get(descriptor):
                answer()
        self.reap()
        self._lives.tend()
        self._look_at_the_clock()
        self._flush()

    def _hear_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)

    # --- the host -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while not self._host_gone:
                heard = wire.receive(self._host)
                if heard is None:
                    self._lose_host()
                else:
                    self._obey(*heard)

    def _obey(self, message: wire.Message, descriptors: list[int]) -> None:
        session = str(message.get("session", ""))
        match message["op"]:
            case "beat":
                begun_at = time.monotonic() - _whole(message["age_ms"]) / 1000
                self._beat_at = max(self._beat_at, begun_at)
            case "spawn":
                self._lives.take(spawning.Order(message, descriptors))
            case "signal":
                self._lives.signal(session, _whole(message["number"]))
            case "kill":
                self._lives.end(session, _whole(message["id"]))
            case "thaw":
                kept = message["keep"]
                self._beat_at = time.monotonic()
                self._lives.thaw(set(map(str, kept if isinstance(kept, list) else ())))

    def _lose_host(self) -> None:
        self._host_gone = True
        self.unwatch(self._host.fileno())

    def _flush(self) -> None:
        if self._host_gone:
            self._outbox.clear()
            return
        wanted = select.POLLIN
        try:
            while self._outbox:
                wire.send(self._host, self._outbox[0], [])
                self._outbox.popleft()
        except BlockingIOError:
            wanted |= select.POLLOUT
        except OSError:
            self._lose_host()
            return
        self._poll.modify(self._host.fileno(), wanted)

    # --- time -----------------------------------------------------------------------------------------------

    def _pause_ms(self) -> float | None:
        if self._lives.are_ending:
            return TEND_S * 1000
        if not self._lives.live:
            return None
        due = self._walk_at + WALK_S
        if self._lives.running:
            due = min(due, self._beat_at + self._freeze_s)
        return max(0.0, due - time.monotonic()) * 1000 + 1

    def _look_at_the_clock(self) -> None:
        if self._lives.live and time.monotonic() - self._walk_at >= WALK_S:
            self._walk_at = time.monotonic()
            self._lives.walk()
        if self._lives.running and self._silence_s() >= self._freeze_s:
            # What waits in the socket was said before the silence was measured.
            self._listen()
            if self._silence_s() >= self._freeze_s:
                self._lives.freeze()

    def _silence_s(self) -> float:
        return time.monotonic() - self._beat_at


def _all_beneath() -> list[tree.Seen]:
    table = tree.everyone()
    me = os.getpid()
    return tree.living(table, tree.with_descendants(table, [me]) - {me})


def _child_bell() -> int:
    """A descriptor that becomes readable when a child ended."""
    heard, rung = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(rung, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(rung, warn_on_full_buffer=False)
    return heard


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def main() -> None:
    """`warden <descriptor of the host's socket> <freeze_s> <process_limit>`: watch until the host is gone."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    channel.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    tree.adopt_orphans()
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.nice(-EAGER)
    Watch(channel, freeze_s=float(sys.argv[2]), process_limit=int(sys.argv[3]), niceness=niceness).run()
