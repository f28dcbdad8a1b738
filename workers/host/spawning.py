"""The warden's half of a spawn: a keeper per agent, and beneath it the agent in a session of its own.

The keeper is a fork of the warden that adopts every orphan of its agent. So the kernel itself knows what belongs to a
session, and the keeper's own end proves that nothing of it is left. It tells the warden of the agent through a pipe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal

from workers.host import tree
from workers.host.wire import Message

CHDIR, EXEC, FORK = "chdir", "exec", "fork"
"""The step of a spawn that failed."""
WALLS = "bwrap"
"""What bubblewrap's own processes are called. An agent that takes the name misses a polite end, nothing else."""


class Order:
    """What to start, as the host's message tells it, and what became of it."""

    __slots__ = ("argv", "cwd", "env", "heard", "leader", "news", "number", "pipes", "session")

    def __init__(self, message: Message, pipes: list[int]) -> None:
        number, argv, env = message["id"], message["argv"], message["env"]
        self.number = number if isinstance(number, int) else 0
        self.session = str(message["session"])
        self.argv = [str(word) for word in argv] if isinstance(argv, list) else []
        self.env = {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {}
        self.cwd = str(message["cwd"])
        self.pipes = pipes
        self.leader = 0
        """Pid of the agent while it lives."""
        self.news = -1
        """What its keeper tells, line by line; ends with the keeper."""
        self.heard = b""

    @property
    def is_walled(self) -> bool:
        """Whether bubblewrap stands between the keeper and the agent."""
        return bool(self.argv) and os.path.basename(self.argv[0]) == WALLS  # noqa: PTH119 - pathlib is a megabyte


def fork(order: Order, niceness: int) -> int:
    """Start the order's keeper, which starts the agent: the keeper's pid. `order.news` tells how it goes on:

    `spawned <pid>`, or `failed <step> <errno>`; later `exit <wait status>`. The order's pipes are closed here.

    Raises:
        OSError: no process could be made.
    """
    try:
        order.news, told = os.pipe()
        os.set_blocking(order.news, False)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _keep(order, told, parent, niceness)
        os.close(told)
    finally:
        close(order.pipes)
    return pid


def close(descriptors: list[int]) -> None:
    """Close these, whatever state they are in."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def news(order: Order) -> tuple[list[list[str]], bool]:
    """What the keeper has told since the last call, a list of words a line; and whether it can tell no more."""
    try:
        part = os.read(order.news, 4096)
    except BlockingIOError:
        return [], False
    *lines, order.heard = (order.heard + part).split(b"\n")
    return [line.decode("ascii", "replace").split() for line in lines], not part


# --- the keeper -------------------------------------------------------------------------------------------------


def _keep(order: Order, told: int, parent: int, niceness: int) -> None:
    try:
        # Nothing is collected here, so most of the memory stays shared with the warden.
        gc.disable()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        tree.adopt_orphans()
        tree.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        # Above all the host's socket: while a copy is open the host cannot see the warden's end.
        _close_all_but({0, 1, 2, told, *order.pipes})
        leader = _start(order, told, niceness)
        if leader:
            _reap(leader, told)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - never return into the warden's loop as a second warden
        os._exit(1)


def _start(order: Order, told: int, niceness: int) -> int:
    verdict, failed = os.pipe()
    try:
        parent = os.getpid()
        leader = os.fork()
        if leader == 0:
            _become(order, failed, parent, niceness)
    except OSError as trouble:
        _tell(told, f"failed {FORK} {trouble.errno}")
        return 0
    os.close(failed)
    # Held here, the agent's output would never end.
    close(order.pipes)
    problem = os.read(verdict, 64)
    os.close(verdict)
    if problem:
        os.waitpid(leader, 0)
        _tell(told, f"failed {problem.decode('ascii')}")
        return 0
    _tell(told, f"spawned {leader}")
    return leader


def _reap(leader: int, told: int) -> None:
    """Bury all that end here, until nobody is left: neither the agent nor any orphan of its."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == leader:
                _tell(told, f"exit {status}")


def _tell(told: int, line: str) -> None:
    # The warden may be gone; then this process is about to be killed.
    with contextlib.suppress(OSError):
        os.write(told, f"{line}\n".encode("ascii"))


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, not paths
        if int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


# --- the agent --------------------------------------------------------------------------------------------------


def _become(order: Order, failed: int, parent: int, niceness: int) -> None:
    step = FORK
    try:
        _settle(parent, niceness)
        # The warden's own 0, 1 and 2 are open, so no pipe sits there.
        for standard, pipe in enumerate(order.pipes):
            os.dup2(pipe, standard)
        step = CHDIR
        os.chdir(order.cwd)
        step = EXEC
        os.execvpe(order.argv[0], order.argv, order.env)  # noqa: S606 - a shell is what we must not have here
    except OSError as trouble:
        os.write(failed, f"{step} {trouble.errno}".encode())
    except BaseException:  # noqa: BLE001 - as in the keeper
        os.write(failed, f"{step} 22".encode())  # EINVAL: a NUL in the arguments, a name that is no text
    finally:
        os._exit(127)


def _settle(parent: int, niceness: int) -> None:
    os.setsid()
    # Its own keys: of those the worker was started with, the agent must see none.
    tree.forget_keys()
    tree.die_with_parent()
    if os.getppid() != parent:
        os._exit(127)
    # What the warden ignores or is raised by must not follow its children through exec.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
