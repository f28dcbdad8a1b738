"""External sessions: agents that somebody else runs, and whose reports Corral records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.domain.ids import KeyId, ReporterId, SessionId, TenantId
from shared.domain.json import JsonObject
from shared.domain.tenant import Caller

TOKEN_PREFIX = "crh"  # noqa: S105 - the beginning of every token is no secret
"""What a hook token begins with."""
MAX_OPEN_CALLS = 256
"""Tool calls of one session without a result that are kept in mind; more have no result made up at the turn's end."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who holds a hook token. Every conversation of the agent it is installed in becomes a session made from this."""

    id: ReporterId
    tenant: TenantId
    agent: str
    title: str | None
    metadata: Mapping[str, str]
    folder: str | None
    heartbeat_s: float | None
    """A session that reports nothing for this long has ended; None: never."""
    remote_approval: bool
    ask_timeout_s: float

    def caller(self) -> Caller:
        """As whom it acts: it may report, and nothing else."""
        return Caller(self.tenant, KeyId(self.id), "hooks", frozenset())

    def lapses_at(self, heard_at: datetime) -> datetime | None:
        """When a session that was heard then has ended, unless more is heard."""
        return None if self.heartbeat_s is None else heard_at + timedelta(seconds=self.heartbeat_s)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A tool call without a result."""

    name: str
    digest: str
    """Of its input: Claude Code's permission requests do not name the call they are about."""


@dataclass(frozen=True, slots=True)
class ExternalSession:
    """What is kept of a session between two reports."""

    session: SessionId
    reporter: ReporterId
    agent_session_id: str | None
    """The agent's own name for the conversation; None until the first report names one."""
    open_calls: Mapping[str, OpenCall] = field(default_factory=dict)
    """By tool call id, in the order of the calls."""

    def stored_calls(self) -> JsonObject:
        """`open_calls` as the store keeps it."""
        return {ref: [call.name, call.digest] for ref, call in self.open_calls.items()}
