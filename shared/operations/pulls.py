"""Pull requests with what a session's agent did."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import SessionBusy
from shared.domain.event import Draft, EventType
from shared.domain.git import ref_of
from shared.domain.ids import SessionId
from shared.domain.pulls import Proposal, PullRequest
from shared.domain.session import Session, SessionStatus
from shared.domain.tenant import Caller
from shared.domain.turn import Turn, TurnStatus
from shared.operations import files
from shared.operations.context import Context
from shared.operations.history import head_of
from shared.operations.transaction import Act, Once, carry_out, recall
from shared.store import sessions, turns

SUMMARY_CHARACTERS = 20_000
TITLE_CHARACTERS = 100
AUTHOR = ("Corral", "corral@noreply.invalid")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller says of a pull request; what is None is made of the session and its last turn."""

    title: str | None = None
    body: str | None = None
    message: str | None = None
    branch: str | None = None
    base: str | None = None
    author: tuple[str, str] = AUTHOR
    draft: bool = False


def open_pull(
    context: Context, caller: Caller, session: SessionId, wish: Wish, *, once: Once[PullRequest] | None = None
) -> PullRequest:
    """Commit what is not committed, push it as a branch of its own and open its pull request. Safe to repeat.

    A branch that has an open pull request keeps it. Where the log is not closed, a notice tells of it.

    Raises:
        NotFound: no such session, or nothing was ever opened for it.
        SessionBusy: a turn runs, so that the files are between two states.
        Unsupported: the workspace is no clone of a repository on the operator's GitHub.
        InvalidField: a branch cannot be taken, or is the base itself.
        NothingToPropose, GitFailed, PullRequestRefused: there is none.
        FilesAway: no live worker has the disk.
    """
    if once is not None:
        recall(context, caller, once)
    proposal = _proposal(context, caller, session, wish)
    made = files.ask(context, caller, session, lambda far, at: far.propose(at, session, proposal))

    def effect(act: Act) -> PullRequest:
        if made.is_new and act.lock(session).status is not SessionStatus.ENDED:
            told = f"Pull request {made.number} was opened: {made.url}"
            act.tell(session, [Draft(EventType.NOTICE, {"kind": "pull_request", "message": told, "url": made.url})])
        return made

    return carry_out(context, caller, once, effect)


def _proposal(context: Context, caller: Caller, session: SessionId, wish: Wish) -> Proposal:
    with context.db.read() as connection:
        head_of(connection, caller, session)
        line = turns.open_line(connection, session)
        if line and line[0][1] is not TurnStatus.QUEUED:
            raise SessionBusy(session, line[0][0])
        found = sessions.get(connection, caller.tenant, session, context.sealer)
        done, _ = turns.page(connection, caller.tenant, session, status=[TurnStatus.COMPLETED], limit=1)
    last = done[0] if done else None
    title = wish.title or _title(found, last)
    branch = wish.branch or (None if found is None else found.spec.workspace.get("branch")) or f"corral/{session}"
    return Proposal(
        branch=ref_of(branch, "branch"),
        base=None if wish.base is None else ref_of(wish.base, "base"),
        title=title,
        body=_body(session, last) if wish.body is None else wish.body,
        message=wish.message or title,
        author_name=wish.author[0],
        author_email=wish.author[1],
        draft=wish.draft,
    )


def _title(found: Session | None, last: Turn | None) -> str:
    named = None if found is None else found.spec.title
    asked = next(iter(last.text.strip().splitlines()), "") if last else ""
    return (named or asked or "Work of a coding agent")[:TITLE_CHARACTERS]


def _body(session: SessionId, last: Turn | None) -> str:
    told = (last.result_text or "").strip()[:SUMMARY_CHARACTERS] if last else ""
    turn = f", {last.id}" if last else ""
    return f"{told or 'The agent told nothing about it.'}\n\n---\nMade by a coding agent in `{session}`{turn}."
