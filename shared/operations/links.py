"""Links: answer one ask, once, without a key; from an e-mail, a chat, a step of a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain import clock
from shared.domain.ask import Ask, AskStatus
from shared.domain.errors import AskClosed, NotFound
from shared.domain.ids import AskId
from shared.domain.json import JsonObject
from shared.domain.link import Link, end_of
from shared.domain.session import Mode, Session
from shared.domain.tenant import Caller
from shared.operations import asks
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.store import asks as rows
from shared.store import links, sessions
from shared.store.database import Connection

VIA: Final = "link"
"""Told as `answered_via`."""


@dataclass(frozen=True, slots=True)
class NewLink:
    """What a caller wants: for whom it is, and for how many seconds (None: as long as the ask waits, or a day)."""

    name: str | None = None
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class Minted:
    """A new link with its secret, which is shown once."""

    link: Link
    secret: str


@dataclass(frozen=True, slots=True)
class Visit:
    """What the holder of a link may see: the ask as it is now, and which answers its agent can take."""

    link: Link
    ask: Ask
    session: Session
    is_open: bool
    """Whether the link still answers."""
    may_allow_always: bool
    next_modes: frozenset[Mode]


def mint(context: Context, caller: Caller, ask: AskId, wish: NewLink, *, once: Once[Minted] | None = None) -> Minted:
    """Make a link that answers an open ask. It is of no use once the ask is closed, by whomever.

    Raises:
        NotFound: missing, or another tenant's.
        AskClosed: there is nothing left to answer.
    """

    def effect(act: Act) -> Minted:
        act.lock(asks.found(act.connection, caller, ask).session)
        found = asks.found(act.connection, caller, ask)
        if found.status is not AskStatus.OPEN:
            raise AskClosed(ask, found.status, found.answered_by, found.answered_via)
        link = Link(
            ask=ask,
            tenant=caller.tenant,
            key=caller.key,
            name=wish.name or f"link of {caller.name}",
            created_at=act.at,
            expires_at=end_of(act.at, wish.expires_s, found.expires_at),
            used_at=None,
        )
        return Minted(link, links.create(act.connection, link, context.sealer))

    return carry_out(context, caller, once, effect)


def visit(context: Context, secret: str) -> Visit:
    """What a link leads to. Changes nothing: previews of chats and scanners of mail come here too.

    Raises:
        NotFound: no such link, or its session was removed.
    """
    with context.db.read() as connection:
        link = _link(context, connection, secret)
        ask = rows.get(connection, link.tenant, link.ask)
        session = None if ask is None else sessions.get(connection, link.tenant, ask.session, context.sealer)
    if ask is None or session is None:
        raise _no_link()
    abilities = asks.abilities_for(context, ask, session)
    modes = frozenset() if abilities is None else asks.modes_allowed(context, abilities)
    return Visit(
        link=link,
        ask=ask,
        session=session,
        is_open=ask.status is AskStatus.OPEN and not _is_over(link, clock.now()),
        may_allow_always=abilities is not None and abilities.allow_always,
        next_modes=modes,
    )


def answer(context: Context, secret: str, said: JsonObject) -> bool:
    """Answer the ask in the link's name, as `asks.answer` does. False: the link's time is over; nothing changed.

    Raises:
        NotFound: no such link.
        InvalidField, Unsupported: the answer cannot be taken; the link can still be used.
        AskClosed: somebody answered first, or it expired or was withdrawn.
    """
    with context.db.read() as connection:
        link = _link(context, connection, secret)
    holder = Caller(link.tenant, link.key, link.name, frozenset())

    def effect(act: Act) -> bool:
        if _is_over(link, act.at):
            return False
        asks.take(act, link.ask, said, via=VIA)
        links.use(act.connection, secret, context.sealer, act.at)
        return True

    return carry_out(context, holder, None, effect)


def _is_over(link: Link, at: datetime) -> bool:
    return link.expires_at <= at


def _link(context: Context, connection: Connection, secret: str) -> Link:
    link = links.find(connection, secret, context.sealer)
    if link is None:
        raise _no_link()
    return link


def _no_link() -> NotFound:
    # The secret stays out of the words: they may be logged.
    return NotFound("link", "like this")
