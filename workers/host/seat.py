"""What the parts of one hosted session share. State of a hosted session has one owner: its task, on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.domain.ids import SessionId
from shared.domain.session import Session, SessionStatus
from workers.host import facts
from workers.host.clocks import Clocks
from workers.host.conversation import Conversation
from workers.host.egress.gate import Gate
from workers.host.facts import Fact
from workers.host.teller import Teller
from workers.host.world import Keeper, Threads, World

GetKeeper = Callable[[], Awaitable[Keeper]]
"""The warden, once there is one (again)."""


@dataclass(slots=True)
class Seat:
    """One session's place at this host."""

    world: World
    threads: Threads
    keeper: GetKeeper
    tasks: asyncio.TaskGroup
    session: Session
    """As last read; `spec.limits` is kept up to date."""
    epoch: int
    status: SessionStatus
    """As last told."""
    model: str | None
    """The model of the next start."""
    turns_started: int
    clocks: Clocks
    teller: Teller
    talk: Conversation
    ring: Callable[[], None]
    """Have the session's task look around."""
    was_up: bool
    """An agent of the session has been up before, here or elsewhere."""
    gate: Gate | None
    """Decides where its agent may go; None: it has the machine's network."""

    @property
    def id(self) -> SessionId:
        """The session."""
        return self.session.id

    def now(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    def set_status(self, status: SessionStatus) -> None:
        """Tell that the session is in `status`, where that is new."""
        if status is not self.status:
            self.status = status
            self.teller.tell(Fact((), (facts.status_is(self.id, status),)))
