"""The budget of the caller's tenant: how it stands, set it, and refuse prompts while it is spent."""

from __future__ import annotations

from shared.domain import clock
from shared.domain.budget import TURNS_OF_A_DAY, Budget, OnBudget, Scope, Standing, resets_at
from shared.domain.errors import BudgetExhausted
from shared.domain.tenant import Caller
from shared.domain.usage import to_micro_usd, to_usd
from shared.operations.context import Context
from shared.operations.transaction import Act, carry_out
from shared.store import budgets


def get(context: Context, caller: Caller) -> Standing | None:
    """How the tenant's budget stands today; None: it has none."""
    with context.db.read() as connection:
        return budgets.standing(connection, caller.tenant, clock.now())


def put(
    context: Context, caller: Caller, *, day_usd: float | None, turn_usd: float | None, on_budget: OnBudget
) -> Standing | None:
    """Set what the tenant may spend on a UTC day; None: as much as it likes. May be repeated.

    A turn is reckoned to cost `turn_usd` until its cost is known; a part of the day's budget where that is None.
    """

    def effect(act: Act) -> Standing | None:
        wish = None if day_usd is None else _budget(day_usd, turn_usd, on_budget)
        budgets.put(act.connection, caller.tenant, wish, act.at)
        return budgets.standing(act.connection, caller.tenant, act.at)

    return carry_out(context, caller, None, effect)


def check(act: Act) -> None:
    """Refuse what would begin a turn while the tenant's budget is spent and nobody is to be asked.

    Only the host that begins the turn has the last word: a budget may be spent between here and there.

    Raises:
        BudgetExhausted: with when it is over.
    """
    found = budgets.standing(act.connection, act.caller.tenant, act.at)
    if found is not None and found.is_spent and found.budget.on_budget is OnBudget.STOP:
        raise BudgetExhausted(
            Scope.TENANT_DAY,
            to_usd(found.spent_micro_usd),
            to_usd(found.limit_micro_usd),
            clock.to_text(resets_at(act.at)),
        )


def _budget(day_usd: float, turn_usd: float | None, on_budget: OnBudget) -> Budget:
    day = max(1, to_micro_usd(day_usd))
    turn = day // TURNS_OF_A_DAY if turn_usd is None else to_micro_usd(turn_usd)
    return Budget(day, max(1, turn), on_budget)
