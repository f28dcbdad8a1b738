"""Whether a session's next turn may begin: its own budget, its tenant's of the day, and the human who may lift either.

For the session's own task.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Final, assert_never

from shared.agents.driver import AskOpen
from shared.domain import clock
from shared.domain.ask import AskKind, PermissionAnswer, Verdict
from shared.domain.budget import Exhausted, OnBudget, Scope, Standing, is_nearly
from shared.domain.event import Draft, EventType
from shared.domain.ids import TenantId, TurnId
from shared.domain.json import JsonObject
from shared.domain.session import Limits
from shared.domain.turn import Turn
from shared.domain.usage import to_micro_usd, to_usd
from shared.store import budgets
from shared.store.budgets import Reserved
from shared.store.database import Database
from shared.telemetry import metrics
from workers.host import facts
from workers.host.clocks import Alarm
from workers.host.commits import Vetoed
from workers.host.facts import Fact
from workers.host.pending import BUDGET_REF
from workers.host.seat import Seat
from workers.host.turn import Held, RunningTurn, failed

LOOK_AGAIN_S: Final = 1.0
"""While turns under way may still spend what is left of a budget, one that waits looks that often."""
STOPPED: Final = "budget_exhausted"
"""The stop reason of a turn that no budget let begin."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The turn may begin."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Turns under way may spend the rest of the budget: it is not spent yet, and has no room."""


Admission = Admitted | Waits | Exhausted


class Budgeting:
    """The session's purse, and its tenant's."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._looked = self._spent()

    async def admit(self, turn: Turn) -> Admission:
        """Whether `turn` may begin now; if so, its part of the tenant's budget is reserved until it ends."""
        if (own := self._session_exhausted()) is not None:
            return own
        seat = self._seat
        reserved = await seat.threads.patiently(_reserve, seat.world.database, seat.session.tenant, turn.id)
        standing = reserved.standing
        if reserved.may_begin:
            if reserved.warns and standing is not None:
                self._warn(_of_day(standing))
            return Admitted()
        if standing is None or not standing.is_spent:
            seat.clocks.set(Alarm.BUDGET, seat.now() + LOOK_AGAIN_S)
            return Waits()
        return _of_day(standing)

    async def refuse(self, turn: Turn, exhausted: Exhausted) -> None:
        """End a turn that did not begin."""
        metrics.BUDGET_STOPS.labels(scope=exhausted.scope.value, outcome="stopped").inc()
        # Withdrawn in the meantime, it has its end.
        with contextlib.suppress(Vetoed):
            await self._seat.teller.commit(facts.turn_ends(turn, failed(exhausted.words(), STOPPED), clock.now()))

    async def lets_go_on(self, running: RunningTurn) -> bool:
        """Whether the running turn, which was held, may reach the agent now; where not, it goes on waiting or ends."""
        match await self.admit(running.turn):
            case Admitted():
                running.held = None
                return True
            case Waits():
                return False
            case Exhausted(on_budget=OnBudget.ASK) as exhausted:
                self.ask(running, exhausted)
                return False
            case Exhausted() as exhausted:
                metrics.BUDGET_STOPS.labels(scope=exhausted.scope.value, outcome="stopped").inc()
                self._stop(exhausted)
                return False
            case unreachable:
                assert_never(unreachable)

    def ask(self, running: RunningTurn, exhausted: Exhausted) -> None:
        """Hold a turn that has begun, and ask a human whether it may go on."""
        metrics.BUDGET_STOPS.labels(scope=exhausted.scope.value, outcome="asked").inc()
        running.held = Held(exhausted)
        data: JsonObject = {
            "tool_name": "corral.budget",
            "input": {**exhausted.shown(), **exhausted.lift_shown()},
            "description": exhausted.question(),
        }
        self._seat.talk.open_ask(AskOpen(BUDGET_REF, AskKind.PERMISSION, data))

    async def settle(self) -> None:
        """Take into account what was answered about the running turn, and look again for room where it has leave."""
        running = self._seat.talk.turn
        held = None if running is None else running.held
        if running is None or held is None or running.cut is not None:
            return
        answer, held.answer = held.answer, None
        if isinstance(answer, PermissionAnswer):
            await self._hear(running, held, answer)
        elif held.is_lifted:
            await self.lets_go_on(running)

    def warn_once(self) -> None:
        """Say that the session's own budget is nearly spent, when the last turn made it so."""
        before, self._looked = self._looked, self._spent()
        for was, now in zip(self._all(before), self._all(self._looked), strict=True):
            if is_nearly(now.spent, now.limit) and not is_nearly(was.spent, now.limit):
                self._warn(now)

    # --- what a human said ------------------------------------------------------------------------------------

    async def _hear(self, running: RunningTurn, held: Held, answer: PermissionAnswer) -> None:
        talk = self._seat.talk
        if answer.decision is Verdict.DENY:
            talk.apply_ask(BUDGET_REF)
            self._stop(held.exhausted)
            return
        # Before the answer counts as applied: lifted twice is bad, lifted and asked again is not.
        await self._lift(running, held.exhausted)
        talk.apply_ask(BUDGET_REF)
        held.is_lifted = True
        await self.lets_go_on(running)

    def _stop(self, exhausted: Exhausted) -> None:
        self._seat.talk.finish(failed(exhausted.words(), STOPPED))

    async def _lift(self, running: RunningTurn, exhausted: Exhausted) -> None:
        seat, moment = self._seat, clock.now()
        data: JsonObject = {"kind": "budget_lifted", **exhausted.shown(), **exhausted.lift_shown()}
        drafts = (Draft(EventType.NOTICE, data, running.turn.id),)
        if exhausted.scope is Scope.TENANT_DAY:
            tenant, turn = seat.session.tenant, running.turn.id
            await seat.teller.commit(Fact(drafts, (lambda on: budgets.lift(on, tenant, turn, exhausted.lift, moment),)))
            return
        limits = _lifted(seat.session.spec.limits, exhausted)
        await seat.teller.commit(Fact(drafts, (facts.limits_are(seat.id, limits),)))
        seat.session = replace(seat.session, spec=replace(seat.session.spec, limits=limits))

    # --- the session's own ------------------------------------------------------------------------------------

    def _session_exhausted(self) -> Exhausted | None:
        return next((one for one in self._all(self._spent()) if one.spent >= one.limit), None)

    def _spent(self) -> tuple[int, int]:
        meter = self._seat.talk.meter
        return meter.micro_usd, meter.tokens

    def _all(self, spent: tuple[int, int]) -> list[Exhausted]:
        spec = self._seat.session.spec
        limits = spec.limits
        cost = None if limits.max_cost_usd is None else to_micro_usd(limits.max_cost_usd)
        named = (("usd", spent[0], cost), ("tokens", spent[1], limits.max_tokens))
        return [
            Exhausted(Scope.SESSION, unit, amount, limit, spec.on_budget)
            for unit, amount, limit in named
            if limit is not None
        ]

    def _warn(self, budget: Exhausted) -> None:
        data: JsonObject = {"kind": "budget_warning", **budget.shown()}
        self._seat.teller.tell(Fact((Draft(EventType.NOTICE, data),)))


def _reserve(database: Database, tenant: TenantId, turn: TurnId) -> Reserved:
    # Most tenants have no budget, and a writer that only looks makes others wait: on SQLite there is one at a time.
    with database.read() as connection:
        if not budgets.is_set(connection, tenant):
            return Reserved(may_begin=True, standing=None)
    with database.write() as connection:
        return budgets.reserve(connection, tenant, turn, clock.now())


def _of_day(standing: Standing) -> Exhausted:
    spent, limit = standing.spent_micro_usd, standing.limit_micro_usd
    return Exhausted(Scope.TENANT_DAY, "usd", spent, limit, standing.budget.on_budget)


def _lifted(limits: Limits, exhausted: Exhausted) -> Limits:
    raised = exhausted.limit + exhausted.lift
    if exhausted.unit == "usd":
        return replace(limits, max_cost_usd=to_usd(raised))
    return replace(limits, max_tokens=raised)
