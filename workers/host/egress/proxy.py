"""Answers one agent's connections: reads what is wanted, has the gate decide, dials, and carries. For the loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

import structlog

from shared.telemetry import metrics
from workers.host.egress import request
from workers.host.egress.dial import BUFFER, AddressRefused, Dialer, DialFailed, Streams
from workers.host.egress.gate import Admission, Decision, Gate
from workers.host.egress.relay import BadBody, Relay
from workers.host.egress.request import Authority, BadRequest, Plain, Tunnel

log = structlog.get_logger(__name__)

MAX_CONNECTIONS: Final = 256
"""Of one agent at once; more wait until one is closed."""
MAX_HEAD: Final = 64 * 1024
HEAD_S: Final = 60.0
"""How long a client may take to say what it wants."""
LINGER_S: Final = 1.0
REFUSAL_S: Final = 0.02
"""Refusals of one agent come this far apart, so that one that tries on and on does not fill the log."""

_STATUS: Final = {
    Decision.MALFORMED: "400 Bad Request",
    Decision.UNREACHABLE: "502 Bad Gateway",
}
_WORDS: Final = {
    Decision.UNLISTED: "{host}:{port} is not among the domains this session may reach.",
    Decision.DENIED: "A human has denied this session to reach {host}:{port}.",
    Decision.UNANSWERED: "A human was asked whether this session may reach {host}:{port}; try again later.",
    Decision.NO_NAME: "Only names are reached from here, and {host} is an address.",
    Decision.PRIVATE: "{host} leads to an address that is not public.",
    Decision.UNREACHABLE: "{host}:{port} cannot be reached: {detail}.",
    Decision.MALFORMED: "The request was not understood: {detail}.",
}


class Proxy:
    """Serves one agent. `room` is waited for before each connection, `serve` gives it back."""

    def __init__(self, gate: Gate, dialer: Dialer) -> None:
        self._gate = gate
        self._dialer = dialer
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._refusing = asyncio.Lock()

    async def room(self) -> None:
        """Wait until another connection may be taken, and take its room."""
        await self._room.acquire()

    def leave(self) -> None:
        """Give the room back."""
        self._room.release()

    async def serve(self, caller: socket.socket, door: Authority | None) -> None:
        """See one connection to its end. `door`: it leads there, and nobody is asked."""
        metrics.EGRESS_CONNECTIONS.inc()
        agent: Streams | None = None
        try:
            agent = await asyncio.open_connection(sock=caller, limit=max(BUFFER, MAX_HEAD))
            await self._serve(agent, door)
        except* (OSError, TimeoutError, BadBody, asyncio.IncompleteReadError):
            # The other side is gone, or says nothing: so does this one.
            pass
        except* Exception:
            # One connection's fault harms no other.
            log.exception("egress.failed")
        finally:
            metrics.EGRESS_CONNECTIONS.dec()
            self.leave()
            _close(agent, caller)

    async def _serve(self, agent: Streams, door: Authority | None) -> None:
        if door is not None:
            far = await self._dial(agent, Admission(Decision.NAMED, door.host, door.port))
            await _carry(agent, far, None)
            return
        try:
            wanted = request.read(await _head(agent))
        except BadRequest as problem:
            malformed = Admission(Decision.MALFORMED, "", 0)
            self._gate.note(malformed)
            await self._refuse(agent, malformed, str(problem))
            return
        admission = await self._gate.admit(wanted.to)
        if admission.is_open:
            await _carry(agent, await self._dial(agent, admission), wanted)
        else:
            await self._refuse(agent, admission)

    async def _dial(self, agent: Streams, admission: Admission) -> Streams | None:
        host, port = admission.host, admission.port
        try:
            return await self._dialer.open(host, port, is_trusted=admission.decision is Decision.NAMED)
        except DialFailed as problem:
            is_private = isinstance(problem, AddressRefused)
            failed = Admission(Decision.PRIVATE if is_private else Decision.UNREACHABLE, host, port)
            self._gate.note(failed)
            await self._refuse(agent, failed, str(problem))
            return None

    async def _refuse(self, agent: Streams, admission: Admission, detail: str = "") -> None:
        async with self._refusing:
            await asyncio.sleep(REFUSAL_S)
        words = _WORDS[admission.decision].format(host=admission.host, port=admission.port, detail=detail)
        body = f"Corral: {words}\n".encode("ascii", "backslashreplace")
        head = [
            f"HTTP/1.1 {_STATUS.get(admission.decision, '403 Forbidden')}",
            "Content-Type: text/plain",
            f"Content-Length: {len(body)}",
            f"X-Corral-Egress: {admission.decision.value}",
            "Connection: close",
        ]
        agent[1].write("\r\n".join([*head, "", ""]).encode("ascii") + body)
        agent[1].write_eof()
        # Closed with a request's body unread, the connection would be reset before the answer is.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await agent[0].read(BUFFER):
                    continue


async def _head(agent: Streams) -> bytes:
    try:
        async with asyncio.timeout(HEAD_S):
            head = await agent[0].readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as problem:
        raise BadRequest("its head is too long") from problem
    if len(head) > MAX_HEAD:
        raise BadRequest("its head is too long")
    return head


async def _carry(agent: Streams, far: Streams | None, wanted: Tunnel | Plain | None) -> None:
    if far is None:
        return
    try:
        relay = Relay(agent, far)
        if isinstance(wanted, Plain):
            await relay.exchange(wanted.head, wanted.length)
            return
        if wanted is not None:
            agent[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await relay.tunnel()
    finally:
        far[1].close()


def _close(agent: Streams | None, caller: socket.socket) -> None:
    with contextlib.suppress(OSError):
        if agent is None:
            caller.close()
        else:
            agent[1].close()
