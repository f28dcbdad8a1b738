"""The one tree of errors. A family decides behaviour; a class has a stable code and facts.

Status numbers live in `api/problems.py` alone.
"""

from __future__ import annotations

from typing import ClassVar

type_of_fact = str | int | float | bool | None


class CorralError(Exception):
    """Root of all errors that a caller is told about.

    `facts` go on the wire beside the message: only values a caller may see.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **facts: type_of_fact) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class NotFound(CorralError):
    """What was named does not exist, or belongs to somebody else: callers cannot tell which."""

    code = "not_found"

    def __init__(self, what: str, ref: str) -> None:
        super().__init__(f"There is no {what} {ref}.", what=what, ref=ref)


class Conflict(CorralError):
    """The thing exists, but is in a state that forbids this."""

    code = "conflict"


class Refused(CorralError):
    """The request itself cannot be carried out, now or later, as it is written."""

    code = "refused"


class Unavailable(CorralError):
    """A part Corral needs is away; the same request may succeed later. The only retryable family."""

    code = "unavailable"


class Forbidden(CorralError):
    """The key is valid and lacks the scope."""

    code = "forbidden"


class Unauthenticated(CorralError):
    """No key, or one that is unknown, revoked or expired."""

    code = "unauthenticated"


class InvalidField(Refused):
    """One field of the body or query has a value that cannot be taken."""

    code = "invalid_field"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", field=field, problem=problem)


class SessionEnded(Conflict):
    """The session takes no more inputs."""

    code = "session_ended"

    def __init__(self, session: str, reason: str | None) -> None:
        super().__init__(f"{session} has ended ({reason or 'terminated'}).", session=session, reason=reason)


class ExternalSession(Conflict):
    """Somebody else runs the session's agent, so nothing can be asked of it through Corral."""

    code = "external_session"

    def __init__(self, session: str) -> None:
        super().__init__(
            f"{session} is external: its agent runs elsewhere and only reports here. Ask where it runs.",
            session=session,
        )


class SessionBusy(Conflict):
    """`when_busy: reject` met a session with a turn in the way."""

    code = "session_busy"

    def __init__(self, session: str, turn: str) -> None:
        super().__init__(
            f"{session} is busy with {turn}. Wait for it, cancel it, or send the prompt with when_busy=queue.",
            session=session,
            turn=turn,
        )


class QueueFull(Conflict):
    """The session's line of waiting prompts is at its limit."""

    code = "queue_full"

    def __init__(self, session: str, limit: int) -> None:
        super().__init__(
            f"{session} already has {limit} prompts waiting. Wait for some to end.", session=session, limit=limit
        )


class BudgetExhausted(Conflict):
    """What may be spent is spent, so no turn may begin. `scope` says whose budget it is."""

    code = "budget_exhausted"

    def __init__(self, scope: str, spent_usd: float, limit_usd: float, resets_at: str) -> None:
        super().__init__(
            f"The budget of the day is spent: {spent_usd:g} of {limit_usd:g} USD. It is free again at {resets_at}; "
            "an admin key can raise it with PUT /v1/budget.",
            scope=scope,
            spent_usd=spent_usd,
            limit_usd=limit_usd,
            resets_at=resets_at,
        )


class TurnOver(Conflict):
    """The turn has ended, so it can be neither cancelled nor changed."""

    code = "turn_over"

    def __init__(self, turn: str, status: str) -> None:
        super().__init__(f"{turn} is already {status}.", turn=turn, status=status)


class BatchOver(Conflict):
    """The batch has completed, so there is nothing to cancel."""

    code = "batch_over"

    def __init__(self, batch: str, status: str) -> None:
        super().__init__(f"{batch} is already {status}.", batch=batch, status=status)


class NothingRunning(Conflict):
    """There is no running turn to cancel."""

    code = "nothing_running"

    def __init__(self, session: str) -> None:
        super().__init__(f"{session} has no running turn.", session=session)


class AskClosed(Conflict):
    """Somebody answered first, or the ask expired or was withdrawn."""

    code = "ask_closed"

    def __init__(self, ask: str, status: str, answered_by: str | None, answered_via: str | None) -> None:
        super().__init__(
            f"{ask} is already {status}.", ask=ask, status=status, answered_by=answered_by, answered_via=answered_via
        )


class VersionMismatch(Conflict):
    """`If-Match` names an older version than the stored one."""

    code = "version_mismatch"

    def __init__(self, actual: int) -> None:
        super().__init__(f"The resource is at version {actual}; read it again and repeat.", actual=actual)


class HistoryRemoved(CorralError):
    """Retention removed the page of the log that was asked for."""

    code = "history_removed"

    def __init__(self, first_seq: int) -> None:
        super().__init__(f"Events before seq {first_seq} were removed by retention.", first_seq=first_seq)


class IdempotencyMismatch(Refused):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another body. Use a new key for a new request.")


class IdempotencyInFlight(Conflict):
    """The first request with this Idempotency-Key has not answered yet."""

    code = "idempotency_in_flight"

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is still being worked on. Repeat it in a moment.")


class Unsupported(Refused):
    """This agent or workspace kind cannot do what was asked."""

    code = "unsupported"


class UnsupportedCommand(Unsupported):
    """The session's agent has no such slash command."""

    code = "unsupported_command"

    def __init__(self, agent: str, name: str, has: str) -> None:
        told = f"It has: {has}." if has else "It has none."
        super().__init__(f"{agent} has no command {name!r}. {told}", agent=agent, name=name, has=has)


class UnknownAgent(Refused):
    """No driver of that name."""

    code = "unknown_agent"

    def __init__(self, agent: str, known: str) -> None:
        super().__init__(f"There is no agent {agent!r}. Known: {known}.", agent=agent, known=known)


class AgentNotReady(Refused):
    """Workers are there, but none of them has the agent's program."""

    code = "agent_not_ready"

    def __init__(self, agent: str, why: str) -> None:
        super().__init__(
            f"No worker can run {agent}: {why}. Install its program on a worker, or name it in "
            f"CORRAL_{agent.upper()}_COMMAND; `corral doctor` shows what is missing.",
            agent=agent,
            why=why,
        )


class ModelNotAllowed(Refused):
    """The operator has bounded which models an agent may be asked for."""

    code = "model_not_allowed"

    def __init__(self, agent: str, model: str, allowed: str) -> None:
        super().__init__(
            f"{agent} may not be asked for model {model!r} here. Allowed: {allowed}.",
            agent=agent,
            model=model,
            allowed=allowed,
        )


class RateLimited(Unavailable):
    """The key has made its requests of this minute."""

    code = "rate_limited"

    def __init__(self, limit: int, retry_after_s: float) -> None:
        super().__init__(
            f"This key may make {limit} requests a minute. Repeat the request in {max(1, round(retry_after_s))} s.",
            limit=limit,
            retry_after_s=retry_after_s,
        )


class StreamsFull(Unavailable):
    """This API process serves as many event streams as it may."""

    code = "too_many_streams"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} event streams are open here already. Try again in a moment.", limit=limit)


class OutputBehind(Unavailable):
    """The lines of a long log are still being counted; every call gets further."""

    code = "output_behind"

    def __init__(self, counted_seq: int, last_seq: int) -> None:
        super().__init__(
            f"Lines are counted up to event {counted_seq} of {last_seq}. Repeat the request in a moment.",
            counted_seq=counted_seq,
            last_seq=last_seq,
        )


class FilesAway(Unavailable):
    """The worker whose disk holds the workspace cannot be reached."""

    code = "files_away"


class SpawnFailed(Refused):
    """A program could not be started. `step` tells where: fork, chdir (its working directory) or exec."""

    code = "spawn_failed"

    def __init__(self, program: str, step: str, problem: str) -> None:
        super().__init__(
            f"{program} cannot be started ({step}): {problem}.", program=program, step=step, problem=problem
        )


class WardenLost(Unavailable):
    """The process that keeps this worker's agents ended unasked; all agents were killed."""

    code = "warden_lost"

    def __init__(self) -> None:
        super().__init__("The worker lost the process that keeps its agents.")


class AgentNotReading(Unavailable):
    """The agent did not read its stdin in time."""

    code = "agent_not_reading"

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The agent did not read its input within {timeout_s:g} s.", timeout_s=timeout_s)


class AgentGone(Unavailable):
    """The agent's stdin is closed: it ended, or was told to."""

    code = "agent_gone"

    def __init__(self) -> None:
        super().__init__("The agent takes no more input.")


class UnknownWorkspaceKind(Refused):
    """No workspace kind has this name."""

    code = "unknown_workspace_kind"

    def __init__(self, kind: str, known: str) -> None:
        super().__init__(f"There is no workspace kind {kind!r}. Known: {known}.", kind=kind, known=known)


class WorkspaceUnusable(Refused):
    """The workspace cannot be opened on this worker."""

    code = "workspace_unusable"

    def __init__(self, problem: str) -> None:
        super().__init__(f"The workspace cannot be used: {problem}", problem=problem)


class VolumeUnusable(Refused):
    """The folder that shall hold workspaces cannot: for the operator."""

    code = "volume_unusable"

    def __init__(self, root: str, problem: str) -> None:
        super().__init__(f"CORRAL_WORKSPACE_ROOT {root}: {problem}", root=root, problem=problem)


class EndpointDisabled(Conflict):
    """The webhook endpoint is disabled, so nothing is sent to it."""

    code = "endpoint_disabled"

    def __init__(self, endpoint: str, reason: str | None) -> None:
        super().__init__(f"{endpoint} is disabled ({reason or 'by_caller'}). Enable it first.", endpoint=endpoint)


class NothingChanged(CorralError):
    """Raised inside a transaction to leave it without a trace."""

    code = "nothing_changed"
