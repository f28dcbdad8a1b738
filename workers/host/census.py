"""The warden's record of which process belongs to which session.

Beneath a session's keeper all is its own. Should the keeper be killed, a process still counts to the session it was
seen in, whose mark it bears, or whose kernel session it is in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable

from workers.host import tree
from workers.host.tree import DEAD, Seen


class _Foreign:
    __slots__ = ()


FOREIGN = _Foreign()
"""Owner of every process that does not descend from the warden."""


class Stray:
    """Owner of a process nobody was seen to start: one of the sessions that had lost their keeper by then."""

    __slots__ = ("suspects",)

    def __init__(self, suspects: set[str]) -> None:
        self.suspects = suspects


Owner = str | Stray | _Foreign


class Census:
    """Every process of the machine with its owner, brought up to date by `update`. For one thread."""

    def __init__(self, me: int) -> None:
        self._me = me
        self._my_session = os.getsid(me)
        self._owners: dict[int, tuple[int, Owner]] = {}
        self._keepers: dict[int, str] = {}
        self._sessions: dict[int, str] = {}
        self._live: set[str] = set()
        self._unkept: set[str] = set()
        self._full_at = 0.0

    @property
    def live(self) -> frozenset[str]:
        """The sessions that were enrolled and not yet struck off."""
        return frozenset(self._live)

    def enrol(self, pid: int, session: str) -> None:
        """`pid` is a keeper, forked by the warden for `session`."""
        self._keepers[pid] = session
        self._owners.pop(pid, None)
        self._live.add(session)

    def bury(self, pid: int) -> None:
        """The keeper `pid` was reaped: another process may get its pid."""
        self._keepers.pop(pid, None)
        self._owners.pop(pid, None)

    def orphan(self, session: str) -> None:
        """The keeper of `session` was killed: the warden adopts what stands beneath it."""
        self._unkept.add(session)

    def strike_off(self, session: str) -> None:
        """Forget a session of which no process is left."""
        self._live.discard(session)
        self._unkept.discard(session)
        self._keepers = {pid: owner for pid, owner in self._keepers.items() if owner != session}
        self._sessions = {pid: owner for pid, owner in self._sessions.items() if owner != session}
        for _, owner in self._owners.values():
            if isinstance(owner, Stray):
                owner.suspects.discard(session)

    def update(self, *, trust_s: float = 1.0) -> None:
        """Look at every process that is new since the last call; at all of them if that was last done trust_s ago.

        Until then a pid seen before is taken for the same process; pids do not come round that fast.
        """
        present = tree.pids()
        full = time.monotonic() - self._full_at >= trust_s
        if full:
            self._full_at = time.monotonic()
        fresh: dict[int, Seen] = {}
        for pid in present if full else present - self._owners.keys():
            seen = tree.look(pid)
            if seen and self._owners.get(pid, (None,))[0] != seen.started:
                fresh[pid] = seen
                self._owners.pop(pid, None)
        for pid in self._owners.keys() - present:
            del self._owners[pid]
        for seen in fresh.values():
            self._attribute(seen, fresh)

    def of(self, sessions: Collection[str]) -> list[Seen]:
        """The living processes of `sessions`, as they are now, without their keepers; with the strays that can
        belong to nobody else. Call `update` first.
        """
        chosen = [pid for pid, (_, owner) in self._owners.items() if _among(owner, sessions)]
        return self._look_again(pid for pid in chosen if pid not in self._keepers)

    def suspects(self, pid: int) -> frozenset[str]:
        """The sessions `pid` may belong to: one, or several for a stray, or none."""
        owner = self._owners.get(pid, (0, FOREIGN))[1]
        if isinstance(owner, Stray):
            return frozenset(owner.suspects)
        return frozenset([owner]) if isinstance(owner, str) else frozenset()

    def crowds(self, limit: int) -> set[str]:
        """The sessions with more than `limit` processes."""
        counts: dict[str, int] = {}
        for _, owner in self._owners.values():
            if isinstance(owner, str):
                counts[owner] = counts.get(owner, 0) + 1
        return {session for session, count in counts.items() if count > limit}

    def _look_again(self, chosen: Iterable[int]) -> list[Seen]:
        found = []
        for pid in chosen:
            seen = tree.look(pid)
            if seen and seen.started == self._owners[pid][0] and seen.state not in DEAD:
                found.append(seen)
        return found

    def _attribute(self, first: Seen, fresh: dict[int, Seen]) -> None:
        # Parents before children, without recursion: a chain of forks may be a thousand deep.
        line = [first]
        while (seen := line[-1]).parent in fresh and seen.parent not in self._owners and len(line) <= len(fresh):
            line.append(fresh[seen.parent])
        while line:
            seen = line.pop()
            owner = self._owner_of(seen)
            if owner is not None:
                self._owners[seen.pid] = (seen.started, owner)
                # A child between fork and setsid still shows the warden's own.
                if isinstance(owner, str) and seen.session != self._my_session:
                    self._sessions[seen.session] = owner
                    self._sessions[seen.group] = owner

    def _owner_of(self, seen: Seen) -> Owner | None:
        if seen.pid in self._keepers:
            return self._keepers[seen.pid]
        if seen.parent == self._me:
            return self._orphan(seen)
        if seen.pid in (1, self._me) or seen.parent == 0:
            return FOREIGN
        # Unknown where the parent ended between two looks: the next update finds the child at its new parent.
        return self._owners.get(seen.parent, (0, None))[1]

    def _orphan(self, seen: Seen) -> Owner:
        marked = tree.marks(seen.pid)
        if marked in self._live:
            return str(marked)
        known = self._sessions.get(seen.session) or self._sessions.get(seen.group)
        return known or Stray(set(self._unkept))


def _among(owner: Owner, sessions: Collection[str]) -> bool:
    if isinstance(owner, Stray):
        return owner.suspects <= set(sessions)
    return isinstance(owner, str) and owner in sessions
