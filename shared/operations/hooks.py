"""Hooks: takes the reports of agents that Corral does not host, each once however often it is sent."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, replace

import structlog

from shared.domain.errors import IdempotencyMismatch, InvalidField, NotFound, SessionEnded, Unauthenticated
from shared.domain.external import ExternalSession, Reporter
from shared.domain.ids import AskId, SessionId
from shared.domain.json import JsonObject
from shared.domain.report import Left, Report, ReportForm, Wanted
from shared.domain.scrubbing import scrub
from shared.domain.session import EndReason, SessionStatus
from shared.operations import approvals, external
from shared.operations.context import Context
from shared.operations.reporting import Telling, call_of
from shared.operations.transaction import Act, carry_out
from shared.store import external as store
from shared.store import heads, sessions
from shared.store.external import Taken
from shared.store.heads import Head
from shared.telemetry import metrics

_EVENT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One report as it came. `key` is the caller's own name for it, by which it is taken once; None: derive one."""

    agent: str
    event: str
    body: JsonObject
    key: str | None = None
    wait_s: float = 0.0
    """How long the agent waits for the reply: somebody may be asked for that long."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of a report, told the same each time it is sent."""

    session: SessionId
    report: str
    is_repeated: bool
    ask: AskId | None


def take(context: Context, reporter: Reporter, incoming: Incoming) -> Reported:
    """Write a report into its session's log. The same report again changes nothing and is told the same.

    Raises:
        NotFound: no agent of this name reports.
        InvalidField: the body cannot be a report.
        IdempotencyMismatch: the key came before with another body.
        SessionEnded: the conversation has ended, and this is not the beginning of another.
        Unauthenticated: the token was withdrawn a moment ago.
    """
    form = form_of(context, incoming.agent)
    if _EVENT.fullmatch(incoming.event) is None:
        raise InvalidField("event", "must be the name of an event: letters, digits, dashes and underscores")
    content = _digest(incoming)
    body = _scrubbed(context, incoming.body)
    report = form.read(incoming.event, body)

    def effect(act: Act) -> Reported:
        holder = store.lock_reporter(act.connection, reporter.id)
        if holder is None:
            raise Unauthenticated("This hook token is unknown or was withdrawn.")
        return _take_under_lock(act, holder, report, _Name(incoming.key, content), incoming.wait_s)

    outcome = "refused"
    try:
        done = carry_out(context, reporter.caller(), None, effect)
        outcome = "repeated" if done.is_repeated else "taken"
    finally:
        # A caller must not be able to make new time series.
        event = incoming.event if incoming.event in form.known else "other"
        metrics.REPORTS.labels(agent=incoming.agent, event=event, outcome=outcome).inc()
    return done


def decision(context: Context, reporter: Reporter, agent: str, ask: AskId) -> JsonObject | None:
    """What the agent's hook is answered once the ask was; None while a human may still answer.

    Empty where nobody did: the agent asks its own user.

    Raises:
        NotFound: no agent of this name reports.
    """
    form = form_of(context, agent)
    return approvals.decide(context, reporter, ask, form.decide)


def form_of(context: Context, agent: str) -> ReportForm:
    """How the reports of an agent are read.

    Raises:
        NotFound: it does not report.
    """
    form = context.reporting.forms.get(agent)
    if form is None:
        raise NotFound("reporting agent", agent[:64])
    return form


def _scrubbed(context: Context, body: JsonObject) -> JsonObject:
    found = scrub(body)
    if not context.reporting.scrubs:
        # Read all the same: what is nested too deep is refused either way.
        return body
    for family in found.families:
        metrics.SECRETS_MASKED.labels(family=family).inc()
    if found.families:
        log.info("report.scrubbed", families=sorted(found.families))
    return found.value if isinstance(found.value, dict) else {}


def _digest(incoming: Incoming) -> str:
    text = json.dumps([incoming.agent, incoming.event, incoming.body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Name:
    """What a report is known by: the key its sender gave it, and what its content hashes to."""

    key: str | None
    content: str


def _take_under_lock(act: Act, reporter: Reporter, report: Report, called: _Name, wait_s: float) -> Reported:
    """The reporter's lock puts its reports in line; the head's lock, taken second, keeps everybody else out."""
    place = store.latest(act.connection, reporter.id, report.agent_session_id)
    name = called.key or _derived(place, report, called.content)
    before = store.taken(act.connection, reporter.id, name)
    if before is not None:
        if before.body_hash != called.content:
            raise IdempotencyMismatch
        return Reported(before.session, name, is_repeated=True, ask=before.ask)
    place, head = _opened(act, reporter, report, place)
    telling = Telling(act, reporter, head, place, wait_s)
    telling.tell(report.fact)
    if report.agent_session_id is not None and place.agent_session_id is None:
        telling.external = replace(telling.external, agent_session_id=report.agent_session_id)
        sessions.set_agent_session(act.connection, head.session, report.agent_session_id)
    lapses_at = None if isinstance(report.fact, Left) else reporter.lapses_at(act.at)
    store.update(act.connection, telling.external, lapses_at)
    store.take(act.connection, reporter.id, name, Taken(head.session, called.content, telling.ask), act.at)
    return Reported(head.session, name, is_repeated=False, ask=telling.ask)


def _opened(
    act: Act, reporter: Reporter, report: Report, place: ExternalSession | None
) -> tuple[ExternalSession, Head]:
    """The session the report goes to, locked: a new one for a new conversation, or one that goes on after its end."""
    if place is not None:
        head = act.lock(place.session)
        if head.status is not SessionStatus.ENDED:
            return place, head
        # What was only out of sight goes on with whatever comes next; of what has ended comes only a beginning.
        if not report.begins and head.end_reason != EndReason.HEARTBEAT_LOST:
            raise SessionEnded(place.session, head.end_reason)
    made = external.open_session(act, reporter, report.agent_session_id)
    if report.agent_session_id is not None:
        sessions.set_agent_session(act.connection, made.session, report.agent_session_id)
    made_head = heads.lock(act.connection, made.session)
    if made_head is None:
        raise NotFound("session", made.session)
    return made, made_head


def _derived(place: ExternalSession | None, report: Report, content: str) -> str:
    """A name for a report whose sender gave none: the same for the same content.

    A permission is wanted anew for each call, and its report does not say for which: the call found for it counts,
    and where none is found it is no repetition, for an old answer must never allow a new call.
    """
    if not isinstance(report.fact, Wanted):
        return content
    call = None if place is None else call_of(place, report.fact)
    return f"{content}.{call or secrets.token_hex(8)}"
