"""A session: one agent in one workspace, with a log. Its states, their legal moves, and what a caller may set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.domain.budget import OnBudget
from shared.domain.ids import KeyId, SessionId, TenantId
from shared.domain.json import JsonObject


class SessionStatus(StrEnum):
    """Where a session is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    WAITING = "waiting"
    PARKED = "parked"
    STRANDED = "stranded"
    ENDED = "ended"


SESSION_MOVES: Mapping[SessionStatus, frozenset[SessionStatus]] = {
    SessionStatus.STARTING: frozenset(
        {SessionStatus.IDLE, SessionStatus.RUNNING, SessionStatus.PARKED, SessionStatus.STRANDED, SessionStatus.ENDED}
    ),
    SessionStatus.IDLE: frozenset(
        {
            SessionStatus.RUNNING,
            SessionStatus.WAITING,
            SessionStatus.PARKED,
            SessionStatus.STRANDED,
            SessionStatus.ENDED,
        }
    ),
    SessionStatus.RUNNING: frozenset(
        {SessionStatus.IDLE, SessionStatus.WAITING, SessionStatus.PARKED, SessionStatus.STRANDED, SessionStatus.ENDED}
    ),
    SessionStatus.WAITING: frozenset(
        {SessionStatus.RUNNING, SessionStatus.IDLE, SessionStatus.PARKED, SessionStatus.STRANDED, SessionStatus.ENDED}
    ),
    # To waiting: a turn may be held at its checkpoint, for which no agent is needed.
    SessionStatus.PARKED: frozenset(
        {
            SessionStatus.STARTING,
            SessionStatus.IDLE,
            SessionStatus.RUNNING,
            SessionStatus.WAITING,
            SessionStatus.STRANDED,
            SessionStatus.ENDED,
        }
    ),
    SessionStatus.STRANDED: frozenset(
        {
            SessionStatus.STARTING,
            SessionStatus.IDLE,
            SessionStatus.RUNNING,
            SessionStatus.WAITING,
            SessionStatus.PARKED,
            SessionStatus.ENDED,
        }
    ),
    SessionStatus.ENDED: frozenset(),
}
"""The legal moves; `docs/state-machines.md` draws this table. Staying where one is is always legal."""


class Mode(StrEnum):
    """How freely the agent acts. Each driver maps these to its own words."""

    INTERACTIVE = "interactive"
    ACCEPT_EDITS = "accept_edits"
    PLAN = "plan"
    BYPASS = "bypass"


class OnWorkerLoss(StrEnum):
    """What becomes of the running turn when the worker under it is lost."""

    INTERRUPT = "interrupt"
    CONTINUE = "continue"


class EndReason(StrEnum):
    """Why a session ended."""

    TERMINATED = "terminated"
    LIFETIME = "lifetime_reached"
    MAX_TURNS = "max_turns_reached"
    MAX_COST = "max_cost_reached"
    MAX_TOKENS = "max_tokens_reached"
    NO_CAPACITY = "no_capacity"
    START_FAILED = "start_failed"
    AGENT_LEFT = "agent_left"
    """An external session's agent reported that it ends."""
    HEARTBEAT_LOST = "heartbeat_lost"
    """Nothing was heard of an external session for too long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one session. Seconds as float; None means no bound."""

    idle_s: float | None = None
    """An idle session's process is ended after this long (it parks; the next prompt resumes it)."""
    lifetime_s: float | None = None
    """The session ends this long after it was created."""
    turn_s: float | None = None
    """A turn that runs longer is interrupted (stop_reason `turn_limit`). The clock stops while an ask is open."""
    max_cost_usd: float | None = None
    max_turns: int | None = None
    max_tokens: int | None = None
    start_s: float | None = None
    """A session no worker could take within this time ends `no_capacity`."""


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a caller sets when creating a session."""

    agent: str
    workspace_kind: str
    workspace: JsonObject
    mode: Mode
    model: str | None = None
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    mcp_servers: JsonObject = field(default_factory=dict)
    allowed_domains: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    on_worker_loss: OnWorkerLoss = OnWorkerLoss.INTERRUPT
    ask_timeout_s: float = 300.0
    on_budget: OnBudget = OnBudget.STOP
    """What happens when `max_cost_usd` or `max_tokens` is reached: the session ends, or a human is asked."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a session begins with in place of a fresh conversation."""

    session: SessionId | None
    """The session it continues; None: the conversation was begun outside of Corral."""
    conversation: str | None
    """The agent's own id of the conversation; None: there is none yet, only files."""
    fork: bool
    """The agent copies the conversation and leaves it as it is; else it goes on with it."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session as stored: its spec, and what became of it."""

    id: SessionId
    tenant: TenantId
    key: KeyId | None
    spec: SessionSpec
    status: SessionStatus
    version: int
    is_external: bool
    """Somebody else runs its agent; Corral records what it reports."""
    volume_id: str | None
    worker: str | None
    """Name of the worker that hosts it now, None where nobody does."""
    epoch: int
    last_seq: int
    agent_session_id: str | None
    turns_started: int
    cost_usd: float
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    end_detail: str | None
    origin: Origin | None = None

    @property
    def conversation(self) -> str | None:
        """The agent's own id of what it can resume. Before its first turn there is only what it began with."""
        if self.turns_started:
            return self.agent_session_id
        return None if self.origin is None else self.origin.conversation
