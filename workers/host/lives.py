"""The warden's sessions: their agents' births, freezes and ends, whole trees at a time. `warden.py` says when."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Collection

from workers.host import spawning, tree
from workers.host.census import Census
from workers.host.spawning import Order
from workers.host.tree import Seen

FREEZE_WITHIN_S = 0.3
LEAVE_S = 0.005
"""What an agent that ended by itself leaves is killed this much later; mostly there is nothing, and nobody looks."""
WALK_TRUST_S = 10.0
SIGNALLED = 128


class Loop:
    """Who is told, and who waits for descriptors: the warden's loop. No Protocol: `typing` is a megabyte."""

    def tell(self, **message: object) -> None:
        """Send the host a message, when it reads."""
        raise NotImplementedError

    def watch(self, descriptor: int, answer: Callable[[], None]) -> None:
        """Call `answer` whenever the descriptor can be read."""
        raise NotImplementedError

    def unwatch(self, descriptor: int) -> None:
        """No longer."""
        raise NotImplementedError

    def reap(self) -> int:
        """Bury the children that have ended: how many it were since the warden began."""
        raise NotImplementedError


class _Ending:
    __slots__ = ("due", "requests")

    def __init__(self, due: float) -> None:
        self.due = due
        self.requests: list[int] = []


class Lives:
    """Every session with a process. For one thread; nothing here waits longer than a freeze (0.3 s)."""

    def __init__(self, loop: Loop, *, niceness: int, process_limit: int) -> None:
        self._loop = loop
        self._process_limit = process_limit
        self._niceness = niceness
        self._census = Census(os.getpid())
        self._orders: dict[int, Order] = {}
        self._ending: dict[str, _Ending] = {}
        self._waiting: dict[str, list[Order]] = {}
        self._unkept: set[str] = set()
        self._notes: dict[str, str] = {}
        self._frozen: set[str] = set()
        self._stopped: dict[int, Seen] = {}

    @property
    def running(self) -> frozenset[str]:
        """The sessions that are neither frozen nor ending."""
        return self._census.live - self._frozen - self._ending.keys()

    @property
    def live(self) -> frozenset[str]:
        """The sessions that have a process, or may."""
        return self._census.live

    @property
    def are_ending(self) -> bool:
        """Whether `tend` is due in a moment."""
        return bool(self._ending)

    # --- births ---------------------------------------------------------------------------------------------

    def take(self, order: Order) -> None:
        """Start what is ordered; when the session's last process is being cleared away, after that."""
        if order.session in self._ending:
            self._waiting.setdefault(order.session, []).append(order)
            return
        try:
            keeper = spawning.fork(order, self._niceness)
        except OSError as trouble:
            self._fail(order, spawning.FORK, trouble.errno or 0)
            return
        self._orders[keeper] = order
        self._census.enrol(keeper, order.session)
        self._loop.watch(order.news, lambda: self._hear(order))

    def _fail(self, order: Order, step: str, number: int) -> None:
        self._loop.tell(op="failed", id=order.number, step=step, errno=number)
        order.number = 0

    def _hear(self, order: Order) -> None:
        if order.news < 0:
            return
        lines, ended = spawning.news(order)
        for line in lines:
            match line:
                case ["spawned", leader]:
                    order.leader = int(leader)
                    self._loop.tell(op="spawned", id=order.number, pid=order.leader)
                case ["failed", step, number]:
                    self._fail(order, step, int(number))
                case ["exit", status]:
                    self._see_exit(order, int(status))
        if ended:
            self._loop.unwatch(order.news)
            os.close(order.news)
            order.news = -1

    def _see_exit(self, order: Order, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if order.is_walled and code > SIGNALLED:
            # bubblewrap tells a signal the way shells do.
            code = SIGNALLED - code
        how = {"code": code} if code >= 0 else {"signal": -code}
        self._loop.tell(op="exit", id=order.number, note=self._notes.pop(order.session, ""), **how)
        order.number = order.leader = 0
        # An agent that ended leaves nothing of its tree behind.
        if not self._leaders(order.session):
            self._ending.setdefault(order.session, _Ending(time.monotonic() + LEAVE_S))

    def bury(self, pid: int, status: int) -> None:
        """A child of the warden was reaped: a keeper, or an orphan whose keeper was killed."""
        order = self._orders.get(pid)
        if order is None:
            return
        self._hear(order)
        del self._orders[pid]
        self._census.bury(pid)
        # A keeper ends by itself when nobody is left beneath it. Another end proves nothing.
        if status:
            self._unkept.add(order.session)
            self._census.orphan(order.session)
        if order.number and order.leader:
            self._see_exit(order, signal.SIGKILL)
        elif order.number:
            self._fail(order, spawning.FORK, errno.ECHILD)
        if not self._keepers(order.session):
            self._ending.setdefault(order.session, _Ending(time.monotonic()))

    def _leaders(self, session: str) -> list[int]:
        return [order.leader for order in self._orders.values() if order.session == session and order.leader]

    def _keepers(self, session: str) -> list[int]:
        return [pid for pid, order in self._orders.items() if order.session == session]

    # --- ends -------------------------------------------------------------------------------------------------

    def signal(self, session: str, number: int) -> None:
        """Signal the groups of the session's agents, without what walls them in: its end would be theirs at once."""
        for leader in self._leaders(session):
            group = [seen for seen in tree.everyone().values() if seen.group == leader]
            walls = [seen for seen in group if tree.name(seen.pid) == spawning.WALLS]
            for seen in group:
                if seen not in walls or len(walls) == len(group):
                    tree.send(seen, number)

    def end(self, session: str, request: int | None = None) -> None:
        """Kill all of `session`, and what has not started yet; `tend` does it and tells `gone` to the request."""
        ending = self._ending.setdefault(session, _Ending(0.0))
        ending.due = 0.0
        if request is not None:
            ending.requests.append(request)
        for order in self._waiting.pop(session, ()):
            spawning.close(order.pipes)
            self._fail(order, spawning.FORK, errno.ECANCELED)

    def tend(self) -> None:
        """Carry the ends further; call every few milliseconds while there are any."""
        self._loop.reap()
        for session, ending in list(self._ending.items()):
            if self._is_over(session):
                self._finish(session)
            elif time.monotonic() >= ending.due:
                self._strike(session)

    def _choose(self, sessions: Collection[str]) -> list[Seen]:
        self._census.update()
        return self._census.of(sessions)

    def _is_over(self, session: str) -> bool:
        if self._keepers(session):
            return False
        if session not in self._unkept:
            return True
        # Without its keeper: a process that forks and ends faster than one can look leaves a corpse here each
        # time; an empty look with no corpse before the next reaping proves that nothing was overlooked.
        reaped = self._loop.reap()
        return not self._choose({session}) and self._loop.reap() == reaped

    def _strike(self, session: str) -> None:
        tree.freeze(lambda: self._choose({session}), within_s=FREEZE_WITHIN_S)
        left = self._choose({session})
        # A group is hit as a whole, also what it forks at this moment. It holds nobody else: every agent
        # began in a session of its own, and groups do not cross sessions.
        for group in {seen.group for seen in left} - {os.getpgrp()}:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        for seen in left:
            tree.send(seen, signal.SIGKILL)

    def _finish(self, session: str) -> None:
        self._census.strike_off(session)
        self._frozen.discard(session)
        self._unkept.discard(session)
        self._notes.pop(session, None)
        for request in self._ending.pop(session).requests:
            self._loop.tell(op="gone", id=request)
        for order in self._waiting.pop(session, ()):
            self.take(order)

    # --- freezes --------------------------------------------------------------------------------------------

    def walk(self) -> None:
        """Look at who is there: end fork bombs and orphans of ended sessions, stop what moves in a frozen one."""
        self._census.update(trust_s=WALK_TRUST_S)
        for session in self._census.crowds(self._process_limit) - self._ending.keys():
            self._notes[session] = f"corral: killed, it had more than {self._process_limit} processes at once"
            self.end(session)
        for nobodys in self._census.of(()):
            tree.send(nobodys, signal.SIGKILL)
        if self._frozen:
            self._stop()

    def freeze(self) -> None:
        """Stop every session that runs, and tell the host which."""
        fresh = self.running
        self._frozen |= fresh
        self._stop()
        if fresh:
            self._loop.tell(op="frozen", sessions=sorted(fresh))

    def thaw(self, keep: Collection[str]) -> None:
        """Continue the frozen sessions of `keep`, end the other frozen ones."""
        for session in self._frozen.difference(keep):
            self.end(session)
        stopped, self._stopped = self._stopped, {}
        self._frozen.clear()
        self._census.update()
        for seen in stopped.values():
            # What is about to be killed must not run for another moment.
            if self._census.suspects(seen.pid).intersection(keep):
                tree.send(seen, signal.SIGCONT)

    def _stop(self) -> None:
        self._stopped |= tree.freeze(lambda: self._choose(self._frozen), within_s=FREEZE_WITHIN_S)
