"""Dials what an agent may reach: a name is resolved once, each address is judged, and that very address is dialled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from shared.domain.addresses import Network, is_denied

RESOLVE_S: Final = 10.0
CONNECT_S: Final = 15.0
MOST_ADDRESSES: Final = 6
BUFFER: Final = 256 * 1024
THREADS: Final = 8
"""Resolvers of all sessions together: a name server that does not answer holds up nobody else's work."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name, in the order to try them. OSError: it has none."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DialFailed(Exception):
    """There is no way to it; the message is for the agent."""


class AddressRefused(DialFailed):
    """It leads where no agent may go."""


def system_resolver() -> Resolve:
    """The machine's own, in threads of its own."""
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="egress-dns")

    async def resolve(host: str, port: int) -> Sequence[str]:
        def work() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(address[0]) for *_, address in found))

        return await asyncio.get_running_loop().run_in_executor(threads, work)

    return resolve


@dataclass(frozen=True, slots=True)
class Dialer:
    """Opens connections for agents. For one loop."""

    allowed: Sequence[Network]
    """Networks that listed names may lead to although they are not public."""
    resolve: Resolve

    async def open(self, host: str, port: int, *, is_trusted: bool = False) -> Streams:
        """A connection to `host`:`port`; one that the operator named (`is_trusted`) may lead anywhere.

        Raises:
            AddressRefused: none of its addresses may be reached.
            DialFailed: it has no address, or none answers.
        """
        addresses = await self._addresses(host, port)
        reachable = [one for one in addresses if is_trusted or not is_denied(one, self.allowed)]
        if not reachable:
            raise AddressRefused("it does not lead to a public address")
        for address in reachable[:MOST_ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await asyncio.open_connection(address, port, limit=BUFFER)
            except (OSError, TimeoutError):
                continue
        raise DialFailed("it does not answer")

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            async with asyncio.timeout(RESOLVE_S):
                return await self.resolve(host, port)
        except (OSError, TimeoutError, UnicodeError) as problem:
            raise DialFailed("its name cannot be resolved") from problem
