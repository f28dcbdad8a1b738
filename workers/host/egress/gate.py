"""Decides where one session's agent may go: by its lists, by what a human has said, or by asking one now.

For the loop. Who asks is the session itself, so its asks are Corral's own and no agent hears of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from shared.agents.driver import AskOpen
from shared.domain import domains
from shared.domain.ask import NETWORK_REF, Answer, Ask, AskKind, PermissionAnswer, Verdict
from shared.domain.domains import AllowList, Entry
from shared.domain.event import Draft, EventType
from shared.domain.json import JsonObject
from shared.domain.session import Mode, Session
from shared.telemetry import metrics
from workers.host.conversation import Conversation
from workers.host.egress.policy import Policy
from workers.host.egress.request import Authority
from workers.host.facts import Fact
from workers.host.pending import OpenAsk

log = structlog.get_logger(__name__)

TOOL: Final = "Network"
"""What is asked for, as permissions name it."""
HOLD_S: Final = 60.0
"""How long a request waits for a human before it is told to come again. The ask stays open."""
OPEN_ASKS: Final = 8
"""Asks of one session about domains at once: an agent must not flood a human with them."""
NOTICES: Final = 100
"""Hosts that are told as blocked, of one session at one host."""


class Decision(StrEnum):
    """What became of a request; a label of `corral_egress_decisions`."""

    LISTED = "listed"
    NAMED = "named"
    ALLOWED = "allowed"
    DENIED = "denied"
    UNLISTED = "unlisted"
    UNANSWERED = "unanswered"
    NO_NAME = "no_name"
    PRIVATE = "private"
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Admission:
    """Where a request may go, or why it may not."""

    decision: Decision
    host: str
    port: int

    @property
    def is_open(self) -> bool:
        """Whether it may be dialled."""
        return self.decision in {Decision.LISTED, Decision.NAMED, Decision.ALLOWED}


class Gate:
    """One session's. What humans said holds for the session; `recall` brings it back at another host."""

    def __init__(
        self,
        policy: Policy,
        session: Session,
        hosts: Sequence[str],
        talk: Conversation,
        tell: Callable[[Fact], None],
        *,
        hold_s: float = HOLD_S,
    ) -> None:
        self.policy = policy
        self._session = session
        self._listed = policy.listed | AllowList.read(hosts) | AllowList.read(session.spec.allowed_domains)
        self._talk = talk
        self._tell = tell
        self._hold_s = hold_s
        self._allowed = AllowList()
        self._denied: set[Entry] = set()
        self._waiting: dict[str, tuple[Entry, asyncio.Future[bool]]] = {}
        """By the ask's ref: what it is about, and the answer its requests wait for."""
        self._told: set[str] = set()

    async def admit(self, wanted: Authority) -> Admission:
        """Whether an agent may go there; waits for a human where one can be asked. Each decision is told once."""
        admission = await self._decide(wanted)
        self.note(admission)
        return admission

    def note(self, admission: Admission) -> None:
        """One line of the audit, one count, and a notice where something was blocked."""
        metrics.EGRESS_DECISIONS.labels(decision=admission.decision.value).inc()
        log.info(
            "egress.decided",
            session=self._session.id,
            host=admission.host[: domains.MAX_NAME],
            port=admission.port,
            decision=admission.decision.value,
        )
        if admission.decision in {Decision.UNLISTED, Decision.NO_NAME, Decision.PRIVATE}:
            self._tell_blocked(admission)

    def answer(self, ask: OpenAsk, answer: Answer) -> None:
        """A human has answered, or nobody did in time: requests that wait go on, or end."""
        entry, waiting = self._waiting.pop(ask.ref, (None, None))
        may = isinstance(answer, PermissionAnswer) and answer.decision is not Verdict.DENY
        if entry is not None and not ask.is_expired:
            self._remember(entry, may=may)
        if waiting is not None and not waiting.done():
            waiting.set_result(may)
        self._talk.apply_ask(ask.ref)

    def recall(self, decided: Sequence[Ask]) -> None:
        """Take into account what humans said about domains while the session was elsewhere, oldest first."""
        for ask in decided:
            try:
                entry = domains.read(ask.ref.removeprefix(NETWORK_REF))
            except ValueError:
                continue
            self._remember(entry, may=(ask.answer or {}).get("decision") != Verdict.DENY)

    # --- deciding ---------------------------------------------------------------------------------------------

    async def _decide(self, wanted: Authority) -> Admission:
        if wanted in self.policy.named:
            return Admission(Decision.NAMED, wanted.host, wanted.port)
        try:
            host = domains.name(wanted.host)
        except ValueError:
            return Admission(Decision.NO_NAME, wanted.host, wanted.port)
        if self._listed.allows(host, wanted.port):
            return Admission(Decision.LISTED, host, wanted.port)
        if self._allowed.allows(host, wanted.port):
            return Admission(Decision.ALLOWED, host, wanted.port)
        entry = domains.entry_for(host, wanted.port)
        if entry in self._denied:
            return Admission(Decision.DENIED, host, wanted.port)
        if not self._may_ask(entry):
            return Admission(Decision.UNLISTED, host, wanted.port)
        return Admission(await self._ask(entry, host, wanted.port), host, wanted.port)

    def _may_ask(self, entry: Entry) -> bool:
        # Without a turn nobody has asked the agent for anything, so nobody looks: programs phone home then.
        if self._talk.mode is not Mode.INTERACTIVE or self._talk.turn is None:
            return False
        open_refs = [ask.ref for ask in self._talk.pending if ask.is_network]
        return _ref(entry) in open_refs or len(open_refs) < OPEN_ASKS

    async def _ask(self, entry: Entry, host: str, port: int) -> Decision:
        waiting = self._opened(entry, host, port)
        try:
            async with asyncio.timeout(self._hold_s):
                may = await asyncio.shield(waiting)
        except TimeoutError:
            return Decision.UNANSWERED
        return Decision.ALLOWED if may else Decision.DENIED

    def _opened(self, entry: Entry, host: str, port: int) -> asyncio.Future[bool]:
        ref, open_refs = _ref(entry), {ask.ref for ask in self._talk.pending}
        # An ask that is not open any more was lost with its turn: whoever still waits then is sent away by the clock.
        self._waiting = {one: known for one, known in self._waiting.items() if one in open_refs}
        if ref in self._waiting:
            return self._waiting[ref][1]
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[ref] = (entry, waiting)
        where: JsonObject = {"domain": host, "port": port}
        data: JsonObject = {
            "tool_name": TOOL,
            "input": where,
            "description": f"The agent wants to reach {host} at port {port}. Allowed, it may for the whole session.",
            **where,
        }
        self._talk.open_ask(AskOpen(ref, AskKind.PERMISSION, data))
        return waiting

    def _remember(self, entry: Entry, *, may: bool) -> None:
        if may:
            self._allowed |= AllowList(frozenset({entry}))
            self._denied.discard(entry)
        else:
            self._denied.add(entry)

    # --- telling ----------------------------------------------------------------------------------------------

    def _tell_blocked(self, admission: Admission) -> None:
        host, port = admission.host[: domains.MAX_NAME], admission.port
        if f"{host}:{port}" in self._told or len(self._told) >= NOTICES:
            return
        self._told.add(f"{host}:{port}")
        data: JsonObject = {
            "kind": "network_blocked",
            "message": f"The agent may not reach {host} at port {port}.",
            "host": host,
            "port": port,
            "reason": admission.decision.value,
        }
        turn = self._talk.turn
        self._tell(Fact((Draft(EventType.NOTICE, data, None if turn is None else turn.turn.id),)))


def _ref(entry: Entry) -> str:
    return f"{NETWORK_REF}{entry}"
