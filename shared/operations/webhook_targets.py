"""Whether a caller's webhook may be taken: its URL, where that leads, its secret, filter, headers and bounds."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from shared.domain.addresses import AddressRules, Target, target
from shared.domain.errors import InvalidField
from shared.domain.webhook import EndpointSpec, event_type_problem, headers_problem, secret_bytes

RESOLVE_S = 2.0
MAX_CONCURRENCY = 100
MAX_RATE = 10_000.0
MAX_TYPES = 50
MAX_DESCRIPTION = 1000

GetAddrInfo = Callable[..., Sequence[tuple[Any, Any, Any, str, tuple[Any, ...]]]]
"""As `socket.getaddrinfo`."""


def check_spec(rules: AddressRules, spec: EndpointSpec, prefix: str = "") -> None:
    """Refuse what an endpoint cannot be. `prefix` names the place in the body, as `webhook.`.

    Raises:
        InvalidField: the first field that cannot be taken, and why.
    """
    check_url(rules, spec.url, f"{prefix}url")
    if spec.description is not None and len(spec.description) > MAX_DESCRIPTION:
        raise InvalidField(f"{prefix}description", f"is longer than {MAX_DESCRIPTION} characters")
    _check_types(spec.event_types, f"{prefix}events")
    problem = headers_problem(spec.headers)
    if problem is not None:
        raise InvalidField(f"{prefix}headers", problem)
    if spec.concurrency is not None and not 1 <= spec.concurrency <= MAX_CONCURRENCY:
        raise InvalidField(f"{prefix}concurrency", f"must be 1 to {MAX_CONCURRENCY}")
    if spec.rate_per_s is not None and not 0 < spec.rate_per_s <= MAX_RATE:
        raise InvalidField(f"{prefix}rate_per_s", f"must be above 0 and at most {MAX_RATE:g}")


def check_url(rules: AddressRules, url: str, field: str) -> None:
    """Refuse a URL no webhook may go to, as far as can be told now; the socket decides at each attempt.

    Resolves the host, for two seconds at most; a name that leads nowhere yet is taken.

    Raises:
        InvalidField: why not.
    """
    try:
        where = target(url)
    except ValueError as problem:
        raise InvalidField(field, str(problem)) from problem
    for address in _RESOLVER.addresses(where):
        refusal = rules.refusal(address, where.port)
        if refusal is not None:
            raise InvalidField(field, refusal)


def check_secret(secret: str, field: str = "secret") -> str:
    """The secret, if it can sign.

    Raises:
        InvalidField: it is no `whsec_…` of 24 to 64 bytes.
    """
    try:
        secret_bytes(secret)
    except ValueError as problem:
        raise InvalidField(field, str(problem)) from problem
    return secret


def _check_types(types: Sequence[str], field: str) -> None:
    if len(types) > MAX_TYPES:
        raise InvalidField(field, f"more than {MAX_TYPES} entries")
    for one in types:
        problem = event_type_problem(one)
        if problem is not None:
            raise InvalidField(field, problem)


class Resolver:
    """Resolves host names with a deadline, in a bounded number of threads."""

    def __init__(
        self, *, threads: int = 16, within_s: float = RESOLVE_S, getaddrinfo: GetAddrInfo = socket.getaddrinfo
    ) -> None:
        self._free = threading.BoundedSemaphore(threads)
        self._within_s = within_s
        self._getaddrinfo = getaddrinfo

    def addresses(self, where: Target) -> list[str]:
        """Addresses of the host, none where they are not to be had in time. Spellings of numbers (127.1) resolve too.

        Blocks for twice `within_s` at most.
        """
        if not self._free.acquire(timeout=self._within_s):
            return []
        found: queue.Queue[list[str]] = queue.Queue(1)

        def ask() -> None:
            try:
                infos = self._getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                infos = []
            finally:
                self._free.release()
            found.put([str(info[4][0]) for info in infos])

        # A thread that may be left behind: getaddrinfo takes no deadline, and a hostile server of names can be slow.
        threading.Thread(target=ask, name="resolve", daemon=True).start()
        try:
            return found.get(timeout=self._within_s)
        except queue.Empty:
            return []


_RESOLVER = Resolver()
