"""What one session has to say, in order: the agent's events in batches, chunks joined, facts between them.

The one way from a hosted session to the journal. For the loop.
"""

from __future__ import annotations

import asyncio
from typing import Final

from shared.domain.event import Draft
from shared.domain.ids import SessionId
from shared.events.owner import Effect
from workers.host import facts
from workers.host.coalesce import Coalescer
from workers.host.commits import Vetoed
from workers.host.facts import Fact
from workers.host.journal import Journal

BATCH: Final = 100
"""Events of one put at most: several of them fill a commit, and of one that cannot be stored little is lost."""


class Teller:
    """The voice of one hosted session, as its owner in `epoch`."""

    def __init__(self, journal: Journal, session: SessionId, epoch: int, *, chunk_s: float) -> None:
        self._journal = journal
        self._session = session
        self._epoch = epoch
        self._coalescer = Coalescer(chunk_s)
        self._batch: list[Draft] = []
        self._size = 0
        self._inputs: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def emit(self, draft: Draft, size: int = 0) -> None:
        """One event of the agent, from `size` bytes of its output. It is put by `put_batch` at the latest."""
        self._batch += self._coalescer.add(draft, _now())
        self._size += size
        if len(self._batch) >= BATCH:
            self._put_batch()

    def put_batch(self) -> None:
        """Hand on what was emitted; chunks that may still be joined follow soon."""
        self._put_batch()
        if self._coalescer.flush_at is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._coalescer.flush_at, self._flush)

    def tell(self, fact: Fact) -> None:
        """A fact, behind everything said before it."""
        self._flush()
        self._journal.put(self._session, self._epoch, fact.drafts, self._with_inputs(fact))

    async def commit(self, fact: Fact) -> None:
        """The same, and wait until it is committed.

        Raises:
            Fenced: the session is somebody else's.
            Vetoed: the fact no longer holds; nothing of it was written.
            NotStored: the host is going away.
        """
        self._flush()
        taken = self._inputs
        try:
            await self._journal.commit(self._session, self._epoch, fact.drafts, self._with_inputs(fact))
        except Vetoed:
            if self._inputs is None:
                self._inputs = taken
            raise

    def inputs_done(self, n: int) -> None:
        """Inputs up to `n` are taken into account: committed with the next fact, or by `settle`."""
        self._inputs = n

    def settle(self) -> None:
        """Commit soon what was taken into account without anything to tell."""
        if self._inputs is not None:
            self.tell(Fact())

    async def flush(self) -> None:
        """Wait until all that was said is committed.

        Raises:
            Fenced: the session is somebody else's.
        """
        self._flush()
        await self._journal.flush(self._session, self._epoch)

    async def room(self) -> None:
        """Wait while too much waits to be committed."""
        await self._journal.room(self._session)

    def close(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _with_inputs(self, fact: Fact) -> tuple[Effect, ...]:
        if self._inputs is None:
            return tuple(fact.effects)
        done, self._inputs = self._inputs, None
        return (facts.inputs_done(self._session, done), *fact.effects)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._batch += self._coalescer.flush(_now())
        self._put_batch()

    def _put_batch(self) -> None:
        if self._batch:
            batch, size = self._batch, self._size
            self._batch, self._size = [], 0
            self._journal.put(self._session, self._epoch, batch, size=max(size, len(batch)))


def _now() -> float:
    return asyncio.get_running_loop().time()
