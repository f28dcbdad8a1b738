"""One transaction per operation: its facts, events, idempotency key and reply commit together; hints go out after."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from shared.domain import clock
from shared.domain.errors import ExternalSession, NotFound, SessionEnded
from shared.domain.event import Draft, Event
from shared.domain.ids import SessionId
from shared.domain.input import Wish
from shared.domain.session import SessionStatus
from shared.domain.tenant import Caller
from shared.events import front
from shared.operations.context import Context
from shared.store import heads, idempotency, inputs, workers
from shared.store.database import Connection
from shared.store.heads import Head

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told: an HTTP status, a JSON text, and the headers that belong to them."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def kept(self) -> str:
        """As it is stored beside its status."""
        return json.dumps([self.text, dict(self.headers)])

    @classmethod
    def told_again(cls, status: int, kept: str) -> Answer:
        """What `kept` gave."""
        text, headers = json.loads(kept)
        return cls(status, text, headers)


@dataclass(frozen=True, slots=True)
class Once(Generic[Result]):
    """A caller's wish that something happen once, however often it asks.

    `route` is method and path, `body_hash` the SHA-256 of the body; `render` makes the answer that is kept
    beside the effect and told again on every repetition.
    """

    route: str
    key: str
    body_hash: str
    render: Callable[[Result], Answer]


class Replayed(Exception):
    """Leaves an operation that was carried out by an earlier request with the same key, with that one's answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(slots=True)
class Act:
    """One transaction under way, and whom to tell once it is committed."""

    context: Context
    caller: Caller
    connection: Connection
    at: datetime
    events: list[Event] = field(default_factory=list)
    _rings: dict[SessionId, str | None] = field(default_factory=dict)
    _ends: set[SessionId] = field(default_factory=set)

    def lock(self, session: SessionId) -> Head:
        """The caller's session, locked until the transaction ends. Take it before any other row of the session.

        Raises:
            NotFound: missing, or another tenant's.
        """
        head = heads.lock(self.connection, session)
        if head is None or head.tenant != self.caller.tenant:
            raise NotFound("session", session)
        return head

    def lock_living(self, session: SessionId) -> Head:
        """The same for what is asked of the agent, which only a session that Corral hosts and that lives can be.

        Raises:
            NotFound: missing, or another tenant's.
            SessionEnded: it takes no more inputs.
            ExternalSession: its agent runs elsewhere.
        """
        head = self.lock(session)
        if head.status is SessionStatus.ENDED:
            raise SessionEnded(session, head.end_reason)
        if head.external:
            raise ExternalSession(session)
        return head

    def tell(self, session: SessionId, drafts: Sequence[Draft]) -> None:
        """Append events at the front of the log."""
        self.events += front.append(self.connection, session, drafts)

    def report(self, session: SessionId, drafts: Sequence[Draft]) -> None:
        """Append what an external session's agent told of itself."""
        if drafts:
            self.events += front.report(self.connection, session, drafts)

    def ask(self, head: Head | None, wish: Wish) -> None:
        """Leave an input for the session's host and ring its bell after the commit. `head` None: nobody hosts it."""
        if inputs.put(self.connection, wish, self.at) is None:
            raise SessionEnded(wish.session, None)
        self._rings[wish.session] = self._host(head)

    def ring_end(self, session: SessionId) -> None:
        """Ring the bell for ending rather than the one for inputs."""
        self._ends.add(session)

    def ring(self) -> None:
        """Tell everybody concerned. Only after the commit."""
        self.context.publisher.committed(self.events)
        for session, worker in self._rings.items():
            bell = self.context.bell.terminate if session in self._ends else self.context.bell.prompt
            bell(session, worker)

    def _host(self, head: Head | None) -> str | None:
        if head is None or head.owner is None:
            return None
        row = workers.get(self.connection, head.owner)
        return row.name if row else None


def carry_out(context: Context, caller: Caller, once: Once[Result] | None, effect: Callable[[Act], Result]) -> Result:
    """Run `effect` in a transaction, with its idempotency key and answer, then send the hints.

    Raises:
        Replayed: the same key and body were carried out before.
        IdempotencyMismatch: the key was used with another body.
        IdempotencyInFlight: the first request with this key has not answered yet.
        DatabaseAway: nothing was changed.
    """
    with context.db.write() as connection:
        if once is not None:
            _begin(context, caller, once, connection)
        act = Act(context, caller, connection, clock.now())
        result = effect(act)
        if once is not None:
            answer = once.render(result)
            # Sealed: an answer may show a secret, which is otherwise kept nowhere.
            sealed = context.sealer.seal(answer.kept())
            idempotency.finish(connection, caller.tenant, once.route, once.key, answer.status, sealed)
    act.ring()
    return result


def recall(context: Context, caller: Caller, once: Once[Result]) -> None:
    """Return if nothing is known of the caller's key: for effects that lie outside of the store and come first.

    Raises:
        Replayed, IdempotencyMismatch, IdempotencyInFlight: as for `carry_out`.
    """
    with context.db.read() as connection:
        reply = idempotency.find(connection, caller.tenant, once.route, once.key, once.body_hash)
    if reply is not None:
        raise Replayed(Answer.told_again(reply.status, context.sealer.open(reply.text)))


def _begin(context: Context, caller: Caller, once: Once[Result], connection: Connection) -> None:
    reply = idempotency.begin(connection, caller.tenant, once.route, once.key, once.body_hash)
    if reply is not None:
        raise Replayed(Answer.told_again(reply.status, context.sealer.open(reply.text)))
