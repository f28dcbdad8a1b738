"""Sessions: what a caller may set and edit. What orders a session's life is in `heads.py`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import Enum
from typing import NotRequired, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from shared.domain.budget import OnBudget
from shared.domain.clock import now
from shared.domain.errors import NotFound, VersionMismatch
from shared.domain.event import storable
from shared.domain.ids import KeyId, SessionId, TenantId
from shared.domain.json import JsonObject
from shared.domain.session import Limits, Mode, OnWorkerLoss, Origin, Session, SessionSpec, SessionStatus
from shared.store.cursors import Row, fetch_page
from shared.store.database import Connection
from shared.store.sealing import Sealer
from shared.store.tables import blobs, deliveries, endpoints, events, heads, inputs, sessions, transcripts, workers


class Unset(Enum):
    """Stands where a patch leaves a field as it is; None would mean to clear it."""

    UNSET = "unset"


UNSET = Unset.UNSET


class NewSession(TypedDict):
    """Whose the new session is, and what seals its secrets."""

    id: SessionId
    tenant: TenantId
    key: KeyId | None
    sealer: Sealer
    at: datetime
    origin: NotRequired[Origin | None]


class SessionPatch(TypedDict, total=False):
    """What a caller may change later. A field left out or UNSET stays."""

    title: str | Unset | None
    metadata: Mapping[str, str] | Unset
    mode: Mode | Unset
    model: str | Unset | None
    limits: Limits | Unset
    if_version: int | None


class SessionFilter(TypedDict, total=False):
    """Which sessions a page holds; all conditions must hold. `q` is looked for in the title, whatever its case."""

    status: Collection[SessionStatus]
    agent: str | None
    title: str | None
    metadata: Mapping[str, str]
    created_after: datetime | None
    q: str | None
    cursor: str | None
    limit: int


def create(connection: Connection, spec: SessionSpec, **new: Unpack[NewSession]) -> None:
    """Make the session's row; its head is made by `heads.create` in the same transaction."""
    sealer = new["sealer"]
    connection.execute(
        sessions.insert().values(
            id=new["id"],
            tenant_id=new["tenant"],
            key_id=new["key"],
            agent=spec.agent,
            workspace_kind=spec.workspace_kind,
            workspace=spec.workspace,
            mode=spec.mode,
            model=_storable_or_none(spec.model),
            title=_storable_or_none(spec.title),
            metadata=_storable_map(spec.metadata),
            env=sealer.seal(json.dumps(dict(spec.env))),
            mcp_servers=sealer.seal(json.dumps(spec.mcp_servers)),
            allowed_domains=list(spec.allowed_domains),
            limits=dataclasses.asdict(spec.limits),
            on_worker_loss=spec.on_worker_loss,
            ask_timeout_s=spec.ask_timeout_s,
            origin=None if (origin := new.get("origin")) is None else dataclasses.asdict(origin),
            on_budget=spec.on_budget,
            created_at=new["at"],
            updated_at=new["at"],
        )
    )


def get(connection: Connection, tenant: TenantId, id: SessionId, sealer: Sealer) -> Session | None:
    """A session of the tenant; None for one that is missing or somebody else's."""
    row = connection.execute(_SELECT.where(sessions.c.id == id, sessions.c.tenant_id == tenant)).one_or_none()
    return _session(row, sealer) if row else None


def get_any(connection: Connection, id: SessionId, sealer: Sealer) -> Session | None:
    """A session of whichever tenant: for hosts, which were given the id by the store itself."""
    row = connection.execute(_SELECT.where(sessions.c.id == id)).one_or_none()
    return _session(row, sealer) if row else None


def page(
    connection: Connection, tenant: TenantId, **filters: Unpack[SessionFilter]
) -> tuple[list[Session], str | None]:
    """Sessions of the tenant, newest first, and the next page's cursor. Their env and MCP servers are left out.

    Raises:
        InvalidField: `cursor` is not one of ours.
    """
    on_sqlite = connection.dialect.name == "sqlite"
    statement = _SELECT.where(sessions.c.tenant_id == tenant, *_conditions(filters, on_sqlite=on_sqlite))
    rows, onward = fetch_page(
        connection, statement, sessions, cursor=filters.get("cursor"), limit=filters.get("limit", 50)
    )
    return [_session(row, None) for row in rows], onward


def patch(connection: Connection, id: SessionId, **fields: Unpack[SessionPatch]) -> int:
    """Change what a caller may change; the version afterwards, one higher when anything was set.

    Raises:
        VersionMismatch: `if_version` was given and is not the stored version; nothing changed.
        NotFound: no such session.
    """
    statement = sessions.update().where(sessions.c.id == id)
    if (wanted := fields.get("if_version")) is not None:
        statement = statement.where(sessions.c.version == wanted)
    values = _patched(fields)
    if values:
        values |= {"version": sessions.c.version + 1, "updated_at": now()}
    else:
        values = {"version": sessions.c.version}
    version = connection.execute(statement.values(values).returning(sessions.c.version)).scalar_one_or_none()
    if version is not None:
        return int(version)
    actual = connection.execute(sa.select(sessions.c.version).where(sessions.c.id == id)).scalar_one_or_none()
    if actual is None:
        raise NotFound("session", id)
    raise VersionMismatch(actual)


def set_agent_session(connection: Connection, id: SessionId, agent_session_id: str | None) -> None:
    """Note the agent's own name for the conversation; it is resumed by it."""
    connection.execute(sessions.update().where(sessions.c.id == id).values(agent_session_id=agent_session_id))


def add_usage(connection: Connection, id: SessionId, *, turns: int = 0, cost_usd: float = 0.0) -> None:
    """Add turns started and money spent to the session's sums. Not idempotent: once per fact, in its transaction."""
    statement = sessions.update().where(sessions.c.id == id)
    added = {"turns_started": sessions.c.turns_started + turns, "cost_usd": sessions.c.cost_usd + cost_usd}
    connection.execute(statement.values(added))


def on_worker_loss(connection: Connection, id: SessionId) -> OnWorkerLoss:
    """What becomes of the session's running turn when its worker is lost; `interrupt` where the session is gone."""
    wish = connection.execute(sa.select(sessions.c.on_worker_loss).where(sessions.c.id == id)).scalar_one_or_none()
    return OnWorkerLoss.INTERRUPT if wish is None else OnWorkerLoss(wish)


def delete(connection: Connection, id: SessionId) -> None:
    """Remove the session and all that belongs to it, from its head and log to its webhooks' deliveries.

    One transaction however long the log is; retention removes the log in parts first.
    """
    for table in (events, deliveries, inputs, blobs, transcripts, endpoints):
        connection.execute(table.delete().where(table.c.session_id == id))
    connection.execute(sessions.delete().where(sessions.c.id == id))


_SELECT = (
    sa.select(
        *sessions.c,
        heads.c.status,
        heads.c.external,
        heads.c.volume_id,
        heads.c.epoch,
        heads.c.last_seq,
        heads.c.ended_at,
        heads.c.end_reason,
        heads.c.end_detail,
        workers.c.name.label("worker"),
    )
    .join(heads, heads.c.session_id == sessions.c.id)
    .outerjoin(workers, workers.c.incarnation == heads.c.owner)
)


def _patched(fields: SessionPatch) -> dict[str, object]:
    values: dict[str, object] = {
        name: value for name, value in fields.items() if value is not UNSET and name != "if_version"
    }
    for name in {"title", "model"} & values.keys():
        values[name] = _storable_or_none(values[name])
    if isinstance(metadata := values.get("metadata"), Mapping):
        values["metadata"] = _storable_map(metadata)
    if isinstance(limits := values.get("limits"), Limits):
        values["limits"] = dataclasses.asdict(limits)
    return values


def _conditions(filters: SessionFilter, *, on_sqlite: bool) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if status := filters.get("status"):
        wanted.append(heads.c.status.in_(list(status)))
    if (agent := filters.get("agent")) is not None:
        wanted.append(sessions.c.agent == storable(agent))
    if (title := filters.get("title")) is not None:
        wanted.append(sessions.c.title == storable(title))
    if (after := filters.get("created_after")) is not None:
        wanted.append(sessions.c.created_at > after)
    if q := filters.get("q"):
        # Both sides go through the database's own lower(): SQLite's knows ASCII only, and must meet itself.
        pattern = "%" + storable(q).replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
        texts = (sessions.c.title, sessions.c.id)
        wanted.append(sa.or_(*(sa.func.lower(text).like(sa.func.lower(pattern), escape="!") for text in texts)))
    has_entry = _has_entry_sqlite if on_sqlite else _has_entry_postgresql
    wanted += [has_entry(storable(key), storable(value)) for key, value in filters.get("metadata", {}).items()]
    return wanted


def _has_entry_sqlite(key: str, value: str) -> sa.ColumnElement[bool]:
    # json_each rather than json_extract: a path cannot name a key with a quote in it.
    entry = sa.func.json_each(sessions.c.metadata).table_valued("key", "value")
    return sa.exists().select_from(entry).where(entry.c.key == key, entry.c.value == value).correlate(sessions)


def _has_entry_postgresql(key: str, value: str) -> sa.ColumnElement[bool]:
    stored = sa.cast(sessions.c.metadata, JSONB)
    return sa.func.jsonb_extract_path_text(stored, key) == value


def _storable_or_none(text: object) -> str | None:
    return None if text is None else storable(str(text))


def _storable_map(texts: Mapping[str, str]) -> dict[str, str]:
    # PostgreSQL's jsonb, which the metadata filter needs, refuses NUL even when it is escaped.
    return {storable(key): storable(value) for key, value in texts.items()}


def _session(row: Row, sealer: Sealer | None) -> Session:
    """Without a sealer, what is sealed stays out."""
    return Session(
        id=SessionId(row.id),
        tenant=TenantId(row.tenant_id),
        key=None if row.key_id is None else KeyId(row.key_id),
        spec=_spec(row, sealer),
        status=SessionStatus(row.status),
        version=row.version,
        is_external=row.external,
        volume_id=row.volume_id,
        worker=row.worker,
        epoch=row.epoch,
        last_seq=row.last_seq,
        agent_session_id=row.agent_session_id,
        turns_started=row.turns_started,
        cost_usd=row.cost_usd,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
        end_detail=row.end_detail,
        origin=_origin(row.origin),
    )


def _spec(row: Row, sealer: Sealer | None) -> SessionSpec:
    env: dict[str, str] = json.loads(sealer.open(row.env)) if sealer else {}
    mcp_servers: JsonObject = json.loads(sealer.open(row.mcp_servers)) if sealer else {}
    return SessionSpec(
        agent=row.agent,
        workspace_kind=row.workspace_kind,
        workspace=row.workspace,
        mode=Mode(row.mode),
        model=row.model,
        title=row.title,
        metadata=row.metadata,
        env=env,
        mcp_servers=mcp_servers,
        allowed_domains=tuple(row.allowed_domains),
        limits=_limits(row.limits),
        on_worker_loss=OnWorkerLoss(row.on_worker_loss),
        ask_timeout_s=row.ask_timeout_s,
        on_budget=OnBudget.STOP if row.on_budget is None else OnBudget(row.on_budget),
    )


def _origin(stored: JsonObject | None) -> Origin | None:
    # As with limits: of a later release's fields only those known here.
    known = {field.name for field in dataclasses.fields(Origin)}
    if stored is None:
        return None
    return Origin(**{name: value for name, value in stored.items() if name in known})  # type: ignore[arg-type]


def _limits(stored: JsonObject) -> Limits:
    # A later release may have stored limits this one does not know; it goes on serving beside it.
    known = {field.name for field in dataclasses.fields(Limits)}
    return Limits(**{name: value for name, value in stored.items() if name in known})  # type: ignore[arg-type]
