"""A batch: up to a thousand prompts, new sessions and terminations, carried out a few at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.domain.ids import BatchId, KeyId, SessionId, TenantId, TurnId

MAX_ITEMS = 1000
MAX_CONCURRENCY = 100
DEFAULT_CONCURRENCY = 10


class BatchStatus(StrEnum):
    """Where a batch is. A cancelled one has ended when the last turn it had under way is over."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ItemKind(StrEnum):
    """What an item does."""

    PROMPT = "prompt"
    SESSION = "session"
    TERMINATE = "terminate"


class ItemStatus(StrEnum):
    """Where an item is. It runs until its turn is over, or the session it terminates has ended."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ITEM_MOVES: Mapping[ItemStatus, frozenset[ItemStatus]] = {
    # A termination of what had ended succeeds at once; what cannot be started fails.
    ItemStatus.QUEUED: frozenset({ItemStatus.RUNNING, ItemStatus.SUCCEEDED, ItemStatus.FAILED, ItemStatus.CANCELLED}),
    ItemStatus.RUNNING: frozenset({ItemStatus.SUCCEEDED, ItemStatus.FAILED, ItemStatus.CANCELLED}),
    ItemStatus.SUCCEEDED: frozenset(),
    ItemStatus.FAILED: frozenset(),
    ItemStatus.CANCELLED: frozenset(),
}
"""The legal moves. No item ever goes back: what was started is never started again."""


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why an item failed: a code of the API, and words for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """How an item ended."""

    status: ItemStatus
    error: ItemError | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Items of a batch by where they are."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as stored, with its counts."""

    id: BatchId
    tenant: TenantId
    key: KeyId | None
    status: BatchStatus
    concurrency: int
    """Items that may run at once."""
    total: int
    metadata: Mapping[str, str]
    created_at: datetime
    ended_at: datetime | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One item with what came of it. `index` counts from 0, as in the request."""

    index: int
    kind: ItemKind
    status: ItemStatus
    session: SessionId | None
    turn: TurnId | None
    error: ItemError | None
    result_text: str | None
    started_at: datetime | None
    ended_at: datetime | None
