"""Which domains an agent may reach: entries of an allow-list, read strictly, matched by name and port.

Names alone are judged here. Where a name leads is judged when it is dialled (`shared/domain/addresses.py`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from shared.domain.errors import InvalidField

DEFAULT_PORTS: Final = frozenset({80, 443})
"""What an entry without a port opens."""
MAX_NAME: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label like these makes resolvers and URL parsers read the whole name as an IPv4 address: 127.1, 0x7f.1, 017.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# IDNA 2003, which is the standard library's, and IDNA 2008, which clients use, lead to different domains for these.
_DEVIATING: Final = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: `example.org`, `*.example.org` (every name beneath, not itself), either with `:port`."""

    host: str
    """Lower case, in ASCII, without the star."""
    port: int | None = None
    """None: 80 and 443."""
    beneath: bool = False

    def __str__(self) -> str:
        star, port = "*." if self.beneath else "", "" if self.port is None else f":{self.port}"
        return f"{star}{self.host}{port}"


@dataclass(frozen=True, slots=True)
class AllowList:
    """What may be reached."""

    entries: frozenset[Entry] = frozenset()

    @classmethod
    def read(cls, texts: Iterable[str]) -> Self:
        """The list that operators and callers write.

        Raises:
            ValueError: an entry cannot be taken; the message names it.
        """
        return cls(frozenset(map(read, texts)))

    def allows(self, host: str, port: int) -> bool:
        """Whether `host`, a name as `name` gives it, may be reached at `port`."""
        ports = (port, None) if port in DEFAULT_PORTS else (port,)
        if any(Entry(host, one) in self.entries for one in ports):
            return True
        labels = host.split(".")
        parents = [".".join(labels[skipped:]) for skipped in range(1, len(labels))]
        return any(Entry(parent, one, beneath=True) in self.entries for parent in parents for one in ports)

    def __or__(self, other: AllowList) -> AllowList:
        return AllowList(self.entries | other.entries)


def entry_for(host: str, port: int) -> Entry:
    """The entry that opens what was asked for: both usual ports together, as people write it."""
    return Entry(host, None if port in DEFAULT_PORTS else port)


def read(text: str) -> Entry:
    """One entry of a list.

    Raises:
        ValueError: it cannot be taken; the message names it and says why.
    """
    host, port = _split(text)
    beneath = host.startswith("*.")
    try:
        found = name(host.removeprefix("*.") if beneath else host)
        number = None if port is None else port_number(port)
    except ValueError as problem:
        raise ValueError(f"{text!r} {problem}") from problem
    if beneath and "." not in found:
        raise ValueError(f"{text!r} would open everything beneath a top-level domain")
    return Entry(found, number, beneath)


def check(texts: Iterable[str], field: str) -> tuple[str, ...]:
    """The list of a request as it is kept: each entry in its one spelling, once, in the order given.

    Raises:
        InvalidField: an entry cannot be taken; says which and why.
    """
    kept: dict[str, None] = {}
    for position, text in enumerate(texts):
        try:
            kept[str(read(text))] = None
        except ValueError as problem:
            raise InvalidField(f"{field}[{position}]", str(problem)) from problem
    return tuple(kept)


def name(host: str) -> str:
    """The one spelling of a host name: lower case, ASCII, no final dot.

    Raises:
        ValueError: it is none, or an IP address in whichever spelling.
    """
    if not host or len(host) > MAX_NAME + 1:
        raise ValueError(f"must be a host name of 1 to {MAX_NAME} characters")
    if "*" in host:
        raise ValueError("may have a star only at its beginning, as in *.example.org")
    if _DEVIATING & set(host):
        raise ValueError("means different domains to different clients; write it in its xn-- form")
    plain = _ascii(host).removesuffix(".")
    if _is_address(plain):
        raise ValueError("is an IP address; only names can be listed")
    if len(plain) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in plain.split(".")):
        raise ValueError("is not a host name such as example.org")
    return plain


def port_number(text: str) -> int:
    """A port as it stands behind a colon.

    Raises:
        ValueError: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError("must have a port between 1 and 65535 behind its colon")
    return int(text)


def _split(text: str) -> tuple[str, str | None]:
    if text.count(":") > 1 or text.startswith("["):
        raise ValueError(f"{text!r} is an IP address; only names can be listed")
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError as problem:
        raise ValueError("is not a host name such as example.org") from problem


def _is_address(host: str) -> bool:
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return True
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
