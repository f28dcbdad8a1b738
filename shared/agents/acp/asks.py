"""What the agent waits for: its open requests by their ids, and answers as their results."""

from __future__ import annotations

import json

from shared.agents.acp.flavour import Waiting
from shared.agents.acp.notices import notice
from shared.agents.acp.permissions import Permission
from shared.agents.acp.wishes import AcpPeer
from shared.agents.driver import AskApplied, AskOpen, AskWithdrawn, Output
from shared.agents.jsonrpc import RpcId
from shared.domain.ask import Answer, PermissionAnswer, Verdict

MAX_OPEN = 256
"""More asks at once are refused: nobody could answer them, and memory is bounded."""
REQUEST_CANCELLED = -32800


class OpenAsks:
    """The requests the agent waits for."""

    def __init__(self, peer: AcpPeer) -> None:
        self._peer = peer
        self._open: dict[str, tuple[RpcId, Waiting]] = {}
        self._allowed: set[str] = set()

    def opened(self, request: RpcId, waiting: Waiting) -> list[Output]:
        """The agent asks."""
        ref = json.dumps(request)
        if ref in self._open:
            return []
        if len(self._open) >= MAX_OPEN:
            told = notice("ask_denied", message=f"More than {MAX_OPEN} requests are open already.")
            return [self._peer.result(request, waiting.cancelled()), told]
        if isinstance(waiting, Permission) and waiting.sameness in self._allowed:
            return [self._peer.result(request, waiting.allowed())]
        self._open[ref] = request, waiting
        return [AskOpen(ref, waiting.kind, waiting.data)]

    def answered(self, ref: str, answer: Answer) -> list[Output]:
        """Bytes that carry the answer; none where the agent no longer waits for `ref`."""
        request, waiting = self._open.pop(ref, (0, None))
        if waiting is None:
            return []
        always = isinstance(answer, PermissionAnswer) and answer.decision is Verdict.ALLOW_ALWAYS
        if always and isinstance(waiting, Permission) and not waiting.offers_always and len(self._allowed) < MAX_OPEN:
            self._allowed.add(waiting.sameness)
        return [self._peer.result(request, waiting.answered(answer)), AskApplied(ref)]

    def withdrawn(self, request: RpcId) -> list[Output]:
        """The agent took its request back."""
        ref = json.dumps(request)
        if self._open.pop(ref, None) is None:
            return []
        return [self._peer.failure(request, REQUEST_CANCELLED, "Cancelled."), AskWithdrawn(ref, "withdrawn")]

    def all_cancelled(self, reason: str) -> list[Output]:
        """The turn is stopped or over; the agent is told of each request that nobody will answer it."""
        outputs: list[Output] = []
        for ref, (request, waiting) in self._open.items():
            outputs += [self._peer.result(request, waiting.cancelled()), AskWithdrawn(ref, reason)]
        self._open.clear()
        return outputs

    def all_lost(self, reason: str) -> list[Output]:
        """The agent is gone."""
        refs = list(self._open)
        self._open.clear()
        return [AskWithdrawn(ref, reason) for ref in refs]
