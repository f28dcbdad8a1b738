"""Which addresses a webhook, or git, may reach. Judged on the address dialled, never on the text of a URL.

Nothing here resolves names or opens sockets: `workers/delivery/guard.py` asks at the socket, operations ask early.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL: Final = 2048

# `is_global` is no filter: Python 3.11 calls 168.63.129.16 (Azure's wire server), 64:ff9b::a9fe:a9fe (NAT64 of the
# metadata address), 2002:7f00:1:: (6to4 of loopback) and multicast global.
_DENIED: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ]
)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What the operator allows: any port on `allowed` networks, `ports` on every other public address."""

    allowed: tuple[Network, ...]
    ports: frozenset[int]
    allow_setting: str = "CORRAL_WEBHOOK_ALLOW"
    ports_setting: str = "CORRAL_WEBHOOK_PORTS"

    @classmethod
    def read(
        cls,
        allow: Sequence[str],
        ports: Sequence[str],
        *,
        allow_setting: str = "CORRAL_WEBHOOK_ALLOW",
        ports_setting: str = "CORRAL_WEBHOOK_PORTS",
    ) -> Self:
        """The rules in settings.

        Raises:
            ValueError: a CIDR or a port cannot be read; the message names the setting and the value.
        """
        networks = tuple(_network(text, allow_setting) for text in allow)
        return cls(networks, frozenset(_port(text, ports_setting) for text in ports), allow_setting, ports_setting)

    def refusal(self, address: str, port: int) -> str | None:
        """Why `address`:`port` may not be reached, or None when it may. `address` is what a resolver gave."""
        try:
            found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return f"{address} is not an IP address"
        if any(found in network for network in self.allowed):
            return None
        if any(found in network for network in _DENIED):
            # Not the address itself: who may set a URL need not learn what names inside lead to.
            return f"it does not lead to a public address; the operator can allow networks with {self.allow_setting}"
        if port not in self.ports:
            return f"port {port} is not allowed; the operator can allow it with {self.ports_setting}"
        return None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL points, before any resolving."""

    host: str
    port: int


def target(url: str) -> Target:
    """Host and port of a webhook's URL.

    Raises:
        ValueError: the URL may not be used, with a message fit for its owner.
    """
    if len(url) > MAX_URL:
        raise ValueError(f"is longer than {MAX_URL} characters")
    if any(character.isspace() or not character.isprintable() for character in url) or "\\" in url:
        raise ValueError("holds white space, control characters or a backslash")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as problem:
        raise ValueError(f"cannot be read as a URL ({problem})") from problem
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password; use headers")
    if not host:
        raise ValueError("names no host")
    if port == 0:
        raise ValueError("names port 0")
    return Target(host, port or {"http": 80, "https": 443}[parts.scheme])


def _unwrapped(address: Address) -> Address:
    # ::ffff:127.0.0.1 reaches 127.0.0.1 through an IPv6 socket.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(text: str, setting: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as problem:
        raise ValueError(f"{setting}: {text!r} is not a network such as 10.0.0.0/8 ({problem})") from problem


def _port(text: str, setting: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"{setting}: {text!r} is not a port (1 to 65535)")
    return int(text)
