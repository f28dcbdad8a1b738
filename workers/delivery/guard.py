"""Refuses addresses at the socket: what is judged is what would be dialled, however the URL or DNS spelt it."""

from __future__ import annotations

import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver
from aiohttp.connector import AddrInfoType, TCPConnector

from shared.domain.addresses import AddressRules


class AddressRefused(OSError):
    """A webhook may not reach this address."""


def socket_factory(rules: AddressRules) -> Callable[[AddrInfoType], socket.socket]:
    """Makes sockets for allowed addresses only.

    A check of names, or in the resolver, is not enough: aiohttp resolves no literals, and a name may lead elsewhere
    the next time. This runs between resolving and connecting, for each address of a name.
    """

    def make(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        refusal = rules.refusal(str(address[0]), int(address[1]))
        if refusal is not None:
            raise AddressRefused(refusal)
        return socket.socket(family, kind, protocol)

    return make


def connector(rules: AddressRules, resolver: AbstractResolver | None = None) -> TCPConnector:
    """The connector of all deliveries.

    Unlimited: the bound is per endpoint, in its gate. A common pool could be filled by hung endpoints, and so could
    one per host, which endpoints of several tenants may share.
    """
    return TCPConnector(
        limit=0, limit_per_host=0, ttl_dns_cache=10, resolver=resolver, socket_factory=socket_factory(rules)
    )
