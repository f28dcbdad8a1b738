"""What an agent asks of its proxy, read so strictly that nobody behind can read it otherwise. Pure.

A request that could mean two things to two readers is refused. A plain one is written anew: one request, one answer,
one connection, so that nothing can follow that was not judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shared.domain import domains

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")
_LITERAL: Final = re.compile(r"\[[0-9a-f:.]+\]")
_OF_THIS_HOP: Final = frozenset(
    {"connection", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"}
)
_LONGEST_BODY: Final = 15
"""Digits of a Content-Length."""


class BadRequest(ValueError):
    """It cannot be understood in one way only; the message says why."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Where a request wants to go, in the client's own words: nothing has been judged yet."""

    host: str
    """Lower case; an IPv6 literal without its brackets."""
    port: int


@dataclass(frozen=True, slots=True)
class Tunnel:
    """`CONNECT host:port`."""

    to: Authority


@dataclass(frozen=True, slots=True)
class Plain:
    """`GET http://host/…`."""

    to: Authority
    head: bytes
    """What its server is sent."""
    length: int | None
    """Bytes of its body; None: it comes in chunks."""


def read(head: bytes) -> Tunnel | Plain:
    """The request that begins with `head`, its blank line included.

    Raises:
        BadRequest: it is none that a proxy takes.
    """
    first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not _TARGET.fullmatch(words[1]):
        raise BadRequest("the request line cannot be read")
    method, target, version = words
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here")
    fields = [_field(line) for line in rest]
    length = _length(fields)
    if method == b"CONNECT":
        if length != 0:
            raise BadRequest("a CONNECT has no body")
        _one(fields, "host")
        return Tunnel(authority(target.decode("ascii"), None))
    if method.upper() == b"CONNECT":
        raise BadRequest("methods are in upper case")
    return _plain(method, target.decode("ascii"), fields, length)


def authority(text: str, default_port: int | None) -> Authority:
    """`host:port`, or `host` where there is a default.

    Raises:
        BadRequest: it is not of this form.
    """
    host, port = text, ""
    if _LITERAL.fullmatch(text.lower()):
        port = ""
    elif not text.endswith("]") and ":" in text:
        host, _, port = text.rpartition(":")
        if not port:
            raise BadRequest("a port must follow the colon")
    if not host or any(sign in host for sign in "@/\\?#%") or (":" in host and not _LITERAL.fullmatch(host.lower())):
        raise BadRequest("the host cannot be read")
    if not port and default_port is None:
        raise BadRequest("CONNECT needs host:port")
    try:
        number = domains.port_number(port) if port else default_port or 0
    except ValueError as problem:
        raise BadRequest(f"the target {problem}") from problem
    return Authority(host.lower().strip("[]"), number)


def _plain(method: bytes, target: str, fields: list[tuple[str, bytes]], length: int | None) -> Plain:
    scheme, mark, beyond = target.partition("://")
    if not mark or scheme.lower() != "http":
        raise BadRequest("this is a proxy: ask it for http://host/… or CONNECT host:port")
    if "#" in target:
        raise BadRequest("a fragment is not for the wire")
    end = next((at for at, sign in enumerate(beyond) if sign in "/?"), len(beyond))
    to, path = authority(beyond[:end], 80), beyond[end:]
    named = _one(fields, "host")
    if named is not None and authority(named.decode("latin-1"), 80) != to:
        raise BadRequest("the Host header names another host than the request line")
    head = [
        b"%b %b HTTP/1.1" % (method, (path if path.startswith("/") else f"/{path}").encode("ascii")),
        b"Host: %b" % _shown(to).encode("ascii"),
        *(b"%b: %b" % (name.encode("ascii"), value) for name, value in _kept(fields)),
        b"Connection: close",
    ]
    return Plain(to, b"\r\n".join([*head, b"", b""]), length)


def _shown(to: Authority) -> str:
    host = f"[{to.host}]" if ":" in to.host else to.host
    return host if to.port == 80 else f"{host}:{to.port}"


def _field(line: bytes) -> tuple[str, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise BadRequest("a header cannot be read")
    return match[1].decode("ascii").lower(), match[2]


def _one(fields: list[tuple[str, bytes]], name: str) -> bytes | None:
    found = [value for one, value in fields if one == name]
    if len(found) > 1:
        raise BadRequest(f"{name} is given twice")
    return found[0] if found else None


def _length(fields: list[tuple[str, bytes]]) -> int | None:
    length, coding = _one(fields, "content-length"), _one(fields, "transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != b"chunked":
            raise BadRequest("the length of the body is not certain")
        return None
    if length is None:
        return 0
    if not length.isdigit() or len(length) > _LONGEST_BODY:
        raise BadRequest("the length of the body is not certain")
    return int(length)


def _kept(fields: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    named = {
        word.strip().lower().decode("latin-1")
        for name, value in fields
        if name == "connection"
        for word in value.split(b",")
    }
    # What frames the body stays, whatever Connection says.
    dropped = (_OF_THIS_HOP | named) - {"content-length", "transfer-encoding"}
    return [(name, value) for name, value in fields if name not in dropped]
