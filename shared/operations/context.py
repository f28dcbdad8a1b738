"""What every operation is handed: the store, whom to tell, the bounds, and what agents and workspaces there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.agents.driver import Abilities
from shared.channel.publisher import Publisher
from shared.domain.addresses import AddressRules
from shared.domain.report import ReportForm
from shared.domain.session import Limits
from shared.operations.output import LineIndex
from shared.queue import Bell
from shared.store.database import Database
from shared.store.sealing import Sealer
from shared.workspaces.kind import Kind
from shared.workspaces.remote import RemoteFiles


@dataclass(frozen=True, slots=True)
class Reporting:
    """What the reports of external sessions are taken with."""

    forms: Mapping[str, ReportForm] = field(default_factory=dict)
    """By agent."""
    scrubs: bool = True
    """Whether secrets are masked before anything is stored."""
    heartbeat_s: float | None = None
    """For a reporter that names none: a session that reports nothing for this long has ended."""


@dataclass(frozen=True, slots=True)
class Context:
    """Made once per process by its composition root. Neither publisher nor bell ever blocks or raises."""

    db: Database
    sealer: Sealer
    publisher: Publisher
    bell: Bell
    limits: Limits
    """Bounds of a session whose creator names none."""
    queue_limit: int
    """Prompts that may wait in one session's line."""
    allow_bypass: bool
    agents: Mapping[str, Abilities]
    kinds: Mapping[str, Kind]
    files: RemoteFiles
    folders: Sequence[Path]
    """Existing folders sessions may be opened on, where this process knows them; the worker has the last word."""
    webhook_rules: AddressRules
    reporting: Reporting = field(default_factory=Reporting)
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Models an agent may be asked for, as patterns, by agent; one that is missing may be asked for any."""
    lines: LineIndex = field(default_factory=LineIndex)
    holds_domains: bool = False
    """Whether workers are to hold agents to lists of domains."""
    finds_transcripts: bool = False
    """Workers look for transcripts of conversations that were begun outside of Corral."""
