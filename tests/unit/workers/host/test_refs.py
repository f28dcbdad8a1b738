"""An agent cannot ask in the name of Corral, nor end what Corral asks."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from shared.agents.driver import AskApplied, AskOpen, AskWithdrawn, Reply
from shared.domain.ask import NETWORK_REF, AskKind, Verdict
from shared.domain.ids import SessionId, TenantId
from tests.fixtures.hosts import SPEC
from workers.host.clocks import Clocks
from workers.host.conversation import Conversation
from workers.host.pending import BUDGET_REF

REF = f"{NETWORK_REF}evil.test"


def _heard(*outputs):
    """What an agent is told that gives these outputs, and what Corral tells of it, while an ask of Corral's is open."""

    async def story():
        told, said = [], []
        session = SimpleNamespace(id=SessionId("ses_x"), tenant=TenantId("ten_x"), spec=SPEC, agent_session_id=None)
        talk = Conversation(session, None, SimpleNamespace(tell=told.append), Clocks(), lambda: None, None)
        talk.open_ask(AskOpen(BUDGET_REF, AskKind.PERMISSION, {}))
        del told[:]
        talk.agent = SimpleNamespace(say=said.append)
        talk.take(outputs, 0)
        return said, told, [ask.ref for ask in talk.pending]

    return asyncio.run(story())


def test_an_ask_in_the_name_of_corral_is_denied_at_once_and_told_to_nobody():
    said, told, still_open = _heard(AskOpen(REF, AskKind.PERMISSION, {"tool_name": "Bash", "input": {}}))

    assert [(type(one), one.ref, one.answer.decision) for one in said] == [(Reply, REF, Verdict.DENY)]
    assert (told, still_open) == ([], [BUDGET_REF])


def test_an_agent_cannot_close_what_corral_asks():
    said, told, still_open = _heard(AskApplied(BUDGET_REF), AskWithdrawn(BUDGET_REF, "moved on"))

    assert (said, told, still_open) == ([], [], [BUDGET_REF])


def test_its_own_asks_are_opened():
    said, told, still_open = _heard(AskOpen("1", AskKind.PERMISSION, {}))

    assert (said, len(told), still_open) == ([], 1, [BUDGET_REF, "1"])
