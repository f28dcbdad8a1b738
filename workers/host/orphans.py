"""Agents that outlived whoever kept them: those of a lost warden, and those of a dead worker on this machine."""

from __future__ import annotations

import os
from collections.abc import Collection

from shared.domain.ids import SessionId
from workers.host import tree
from workers.host.tree import Seen

WITHIN_S = 10.0

WARDENS: set[int] = set()
"""Pids of the wardens this process started and that still live."""


def kill_orphans(*, since: int) -> int:
    """Kill what a warden left to this process, whole trees: how many processes. Blocks up to 10 s; call in a thread.

    These are the children of this process in a session other than its own that began after `since` (in the
    kernel's ticks, `Seen.started` of the warden) and are no warden themselves. So a worker that starts
    processes of its own must leave them in its own session.
    """
    me = os.getpid()
    mine = os.getsid(0)

    def choose() -> list[Seen]:
        table = tree.everyone()
        adopted = [
            seen.pid for seen in table.values() if seen.parent == me and seen.session != mine and seen.started >= since
        ]
        return tree.living(table, tree.with_descendants(table, adopted, spare=frozenset(WARDENS)))

    return tree.end(choose, within_s=WITHIN_S)


def kill_marked(session: SessionId, *, spare: Collection[int] = ()) -> int:
    """Kill every process of this machine that bears the mark of `session`, whole trees: how many processes.

    For a takeover, before the session is started anew. `spare` names processes that are left alone with all
    beneath them (our own warden); this process and those above it are, too. Idempotent. Blocks up to 10 s; call
    in a thread.
    """
    return kill_all_marked({session}, spare=spare)


def kill_all_marked(sessions: Collection[SessionId], *, spare: Collection[int] = ()) -> int:
    """The same for many sessions at once, which takes hardly longer than for one."""

    def choose() -> list[Seen]:
        table = tree.everyone()
        marked = [pid for pid, seen in table.items() if seen.state not in tree.DEAD and tree.marks(pid) in sessions]
        # A child that scrubbed its environment and lost its parents still shares their kernel session.
        leaders = {table[pid].session for pid in marked if table[pid].session in marked}
        kin = [seen.pid for seen in table.values() if seen.session in leaders]
        spared = tree.with_descendants(table, spare) | tree.ancestry(table, os.getpid())
        return tree.living(table, tree.with_descendants(table, [*marked, *kin], spare=spared))

    return tree.end(choose, within_s=WITHIN_S)
