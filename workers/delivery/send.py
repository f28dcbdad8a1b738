"""One POST, and what came of it. Never raises for what a receiver does; never reads more than 16 kB of an answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver

from shared.domain import clock
from shared.domain.addresses import AddressRules
from shared.domain.event import storable
from shared.domain.webhook import AttemptOutcome
from workers.delivery.guard import AddressRefused, connector
from workers.delivery.schedule import read_retry_after

READ_BYTES = 16 * 1024
KEPT_BYTES = 2 * 1024
ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What one POST brought."""

    outcome: AttemptOutcome
    duration_s: float
    status_code: int | None = None
    error: str | None = None
    response: str | None = None
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        return self.outcome is AttemptOutcome.DELIVERED


def open_session(rules: AddressRules, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """The HTTP client of all deliveries: guarded, without proxies, cookies or decompression."""
    return aiohttp.ClientSession(
        connector=connector(rules, resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # An answer is data to be cut off, not to be unpacked: 16 kB of gzip can be 16 MB of text.
        auto_decompress=False,
        headers={"accept-encoding": "identity"},
        read_bufsize=READ_BYTES,
    )


class Sender:
    """Posts bodies; `timeout_s` is for a whole attempt, from resolving the name to the end of the answer."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout_s: float) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self.timeout_s = timeout_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` once."""
        began = time.monotonic()
        try:
            return await self._post(url, headers, body, began)
        except TimeoutError:
            outcome, error = AttemptOutcome.TIMED_OUT, f"no whole answer within {self._timeout.total:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            outcome, error = _named(problem)
        return Answer(outcome, time.monotonic() - began, error=storable(error[:ERROR_CHARACTERS]))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, began: float) -> Answer:
        async with self._session.post(
            url, data=body, headers=headers, allow_redirects=False, timeout=self._timeout
        ) as response:
            head = await _head(response)
            delivered = 200 <= response.status < 300
            return Answer(
                AttemptOutcome.DELIVERED if delivered else AttemptOutcome.ANSWERED,
                time.monotonic() - began,
                status_code=response.status,
                error=None if delivered else f"answered {response.status}",
                response=storable(head[:KEPT_BYTES].decode("utf-8", "replace")) or None,
                retry_after_s=read_retry_after(response.headers.get("retry-after"), clock.now()),
            )


async def _head(response: aiohttp.ClientResponse) -> bytes:
    head = b""
    while len(head) < READ_BYTES:
        chunk = await response.content.read(READ_BYTES - len(head))
        if not chunk:
            return head
        head += chunk
    # Whatever else it says nobody wants; the connection goes with it.
    response.close()
    return head


def _named(problem: Exception) -> tuple[AttemptOutcome, str]:
    cause = problem.os_error if isinstance(problem, aiohttp.ClientConnectorError) else problem
    if isinstance(cause, AddressRefused):
        return AttemptOutcome.REFUSED, str(cause)
    if isinstance(problem, aiohttp.InvalidURL) or not isinstance(problem, aiohttp.ClientError | OSError):
        return AttemptOutcome.REFUSED, "the URL cannot be used"
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return AttemptOutcome.UNREACHABLE, "the host name cannot be resolved"
    return AttemptOutcome.UNREACHABLE, f"{type(problem).__name__}: {problem}"
