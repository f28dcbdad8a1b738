"""Budgets of tenants: what they may spend a day, and what turns under way are reckoned to cost until that is known.

A turn that begins reserves its part under the lock of its tenant's row; its end releases that in the transaction that
counts its cost. Tenants without a budget have no row, take no lock and reserve nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shared.domain.budget import Budget, OnBudget, Standing
from shared.domain.ids import TenantId, TurnId
from shared.domain.turn import OPEN_TURN
from shared.store.cursors import Row
from shared.store.database import Connection
from shared.store.inserting import insert_if_new
from shared.store.tables import turns
from shared.store.usage import day_of
from shared.store.usage_tables import budgets, reservations, turn_usage


@dataclass(frozen=True, slots=True)
class Reserved:
    """Whether a turn may begin, and how its tenant's budget stood before it; None: there is no budget."""

    may_begin: bool
    standing: Standing | None
    warns: bool = False
    """This is the first to see that the day's budget is nearly spent."""


def put(connection: Connection, tenant: TenantId, budget: Budget | None, at: datetime) -> None:
    """Set the tenant's budget; None: it has none. What was added to this day's, and what turns reserve, stays."""
    if budget is None:
        connection.execute(budgets.delete().where(budgets.c.tenant_id == tenant))
        return
    values: dict[str, object] = {
        "day_micro_usd": budget.day_micro_usd,
        "turn_micro_usd": budget.turn_micro_usd,
        "on_budget": budget.on_budget,
        "warned_day": None,
        "updated_at": at,
    }
    if not insert_if_new(connection, budgets, {"tenant_id": tenant, "lifted_micro_usd": 0, **values}):
        connection.execute(budgets.update().where(budgets.c.tenant_id == tenant).values(values))


def is_set(connection: Connection, tenant: TenantId) -> bool:
    """Whether the tenant has a budget."""
    return connection.execute(sa.select(budgets.c.tenant_id).where(budgets.c.tenant_id == tenant)).first() is not None


def standing(connection: Connection, tenant: TenantId, at: datetime) -> Standing | None:
    """How the tenant's budget stands on the day of `at`; None: it has none."""
    row = connection.execute(sa.select(budgets).where(budgets.c.tenant_id == tenant)).one_or_none()
    return None if row is None else _standing(connection, row, at, besides=None)


def reserve(connection: Connection, tenant: TenantId, turn: TurnId, at: datetime) -> Reserved:
    """Reserve what the turn is reckoned to cost, if there is room. In a transaction of its own; may be repeated.

    Of any number of turns that want to begin at the same moment, as many may as there is room for. One that does not
    begin after all gives its part back when it ends, or begins later with the same one.
    """
    row = connection.execute(sa.select(budgets).where(budgets.c.tenant_id == tenant).with_for_update()).one_or_none()
    if row is None:
        return Reserved(may_begin=True, standing=None)
    found = _standing(connection, row, at, besides=turn)
    if not found.has_room:
        return Reserved(may_begin=False, standing=found)
    _take(connection, tenant, turn, found.budget.turn_micro_usd)
    warns = found.is_nearly_spent and row.warned_day != found.day
    if warns:
        connection.execute(budgets.update().where(budgets.c.tenant_id == tenant).values(warned_day=found.day))
    return Reserved(may_begin=True, standing=found, warns=warns)


def lift(connection: Connection, tenant: TenantId, turn: TurnId, micro_usd: int, at: datetime) -> None:
    """Add to the budget of this day, and let `turn` begin: a human said so. Nothing happens where there is none."""
    row = connection.execute(sa.select(budgets).where(budgets.c.tenant_id == tenant).with_for_update()).one_or_none()
    if row is None:
        return
    day = day_of(at)
    lifted = micro_usd + (row.lifted_micro_usd if row.lifted_day == day else 0)
    values = {"lifted_day": day, "lifted_micro_usd": lifted, "warned_day": None}
    connection.execute(budgets.update().where(budgets.c.tenant_id == tenant).values(values))
    _take(connection, tenant, turn, row.turn_micro_usd)


def release(connection: Connection, turn: TurnId) -> None:
    """The turn has ended, or waits in the line again: nothing is reserved for it any more."""
    connection.execute(reservations.delete().where(reservations.c.turn_id == turn))


def _take(connection: Connection, tenant: TenantId, turn: TurnId, micro_usd: int) -> None:
    # Locked: a turn that is withdrawn in this moment must not leave its part reserved for ever.
    is_open = sa.select(turns.c.id).where(turns.c.id == turn, turns.c.status.in_(list(OPEN_TURN))).with_for_update()
    if connection.execute(is_open).first() is not None:
        insert_if_new(connection, reservations, {"turn_id": turn, "tenant_id": tenant, "micro_usd": micro_usd})


def _standing(connection: Connection, row: Row, at: datetime, *, besides: TurnId | None) -> Standing:
    day = day_of(at)
    spent = sa.select(sa.func.sum(turn_usage.c.cost_micro_usd)).where(
        turn_usage.c.tenant_id == row.tenant_id, turn_usage.c.day == day
    )
    reserved = sa.select(sa.func.sum(reservations.c.micro_usd)).where(reservations.c.tenant_id == row.tenant_id)
    if besides is not None:
        reserved = reserved.where(reservations.c.turn_id != besides)
    # One statement, so one snapshot: a turn that ends meanwhile is in exactly one of the two sums.
    sums = connection.execute(
        sa.select(spent.scalar_subquery().label("spent"), reserved.scalar_subquery().label("reserved"))
    ).one()
    return Standing(
        budget=Budget(row.day_micro_usd, row.turn_micro_usd, OnBudget(row.on_budget)),
        day=day,
        spent_micro_usd=int(sums.spent or 0),
        reserved_micro_usd=int(sums.reserved or 0),
        lifted_micro_usd=row.lifted_micro_usd if row.lifted_day == day else 0,
    )
