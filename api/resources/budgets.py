"""What the tenant may spend a day."""

from __future__ import annotations

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.budgets import BudgetView, PutBudget, view
from shared.domain import clock
from shared.domain.budget import OnBudget
from shared.domain.tenant import Scope
from shared.operations import budgets

routes = Routes("budgets", "What the tenant may spend a day.")

_BUDGET = Shown(BudgetView, "The budget, and how it stands today.")


@routes.add(Route("GET", "/v1/budget", replies={200: _BUDGET}, scope=Scope.READ))
def get_budget(call: Call) -> Reply:
    """What your tenant may spend on a UTC day, and what of it is spent."""
    return tell(BudgetView, view(budgets.get(call.context, call.caller), clock.now()))


@routes.add(Route("PUT", "/v1/budget", replies={200: _BUDGET}, scope=Scope.ADMIN, body=PutBudget))
def put_budget(call: Call) -> Reply:
    """Set what your tenant may spend on a UTC day; it holds from the next turn that begins. Safe to repeat."""
    body = call.body
    found = budgets.put(
        call.context,
        call.caller,
        day_usd=body["day_usd"],
        turn_usd=body["turn_usd"],
        on_budget=OnBudget(body["on_budget"]),
    )
    return tell(BudgetView, view(found, clock.now()))
