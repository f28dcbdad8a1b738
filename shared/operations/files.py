"""Files of a workspace, through the worker whose disk holds it; also after the session's end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from shared.domain.errors import FilesAway, NotFound
from shared.domain.event import Draft, EventType
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.domain.session import SessionStatus
from shared.domain.tenant import Caller
from shared.operations.context import Context
from shared.operations.history import head_of
from shared.operations.transaction import Act, Once, carry_out, recall
from shared.store import workers
from shared.workspaces.gitviews import Commit, Diff, Status
from shared.workspaces.opener import Chunk, Entry, Listing
from shared.workspaces.remote import Fetch, Payload, RemoteFiles
from shared.workspaces.writer import Written

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file a caller wants in a workspace. `create_only`: not where there is one of its name."""

    path: str
    payload: Payload
    create_only: bool = False


class NoWorkspace(NotFound):
    """The session's workspace was never made."""


def listing(context: Context, caller: Caller, session: SessionId, path: str, *, depth: int, limit: int) -> Listing:
    """What lies in a folder of the workspace, down to `depth` levels.

    Raises:
        NotFound: no such session, or no such folder in its workspace.
        InvalidField: the path leads out of the workspace or is no folder.
        FilesAway: no live worker has the disk.
    """
    return _ask(context, caller, session, lambda far, at: far.listing(at, session, path, depth=depth, limit=limit))


def info(context: Context, caller: Caller, session: SessionId, path: str) -> Entry:
    """What one entry of the workspace is.

    Raises:
        NotFound, InvalidField, FilesAway: as for `listing`.
    """
    return _ask(context, caller, session, lambda far, at: far.info(at, session, path))


def read(context: Context, caller: Caller, session: SessionId, path: str, *, offset: int, limit: int) -> Chunk:
    """Bytes of a file of the workspace.

    Raises:
        NotFound, InvalidField, FilesAway: as for `listing`.
    """
    return _ask(context, caller, session, lambda far, at: far.read(at, session, path, offset=offset, limit=limit))


def write(
    context: Context,
    caller: Caller,
    session: SessionId,
    wish: NewFile,
    *,
    once: Once[Written] | None = None,
) -> Written:
    """Put a file into the workspace, whole or not at all, and tell it in the log where that is not closed.

    The file is there before the log tells of it; repeated after a crash between the two, it is written again.

    Raises:
        NotFound: no such session, or nothing was ever opened for it.
        FileThere: there is a file of that name, and `wish.create_only`.
        WorkspaceFull, VolumeFull: there is no room for it.
        InvalidField, FilesAway: as for `listing`.
    """
    if once is not None:
        recall(context, caller, once)
    written = _ask(
        context,
        caller,
        session,
        lambda far, at: far.write(at, session, wish.path, wish.payload, create_only=wish.create_only),
    )
    change = "created" if written.is_new else "modified"
    told: JsonObject = {"path": written.entry.path, "change": change, "size_bytes": written.entry.size_bytes}

    def effect(act: Act) -> Written:
        _tell(act, session, told)
        return written

    return carry_out(context, caller, once, effect)


def delete(context: Context, caller: Caller, session: SessionId, path: str, *, recursive: bool) -> Entry:
    """Remove a file or folder of the workspace, and tell it in the log where that is not closed; what it was.

    Raises:
        FolderNotEmpty: it is a folder that holds something, and not `recursive`.
        NotFound, InvalidField, FilesAway: as for `listing`.
    """
    gone = _ask(context, caller, session, lambda far, at: far.delete(at, session, path, recursive=recursive))
    carry_out(context, caller, None, lambda act: _tell(act, session, {"path": gone.path, "change": "deleted"}))
    return gone


def archive(context: Context, caller: Caller, session: SessionId, path: str, *, gzip: bool) -> Sequence[Fetch]:
    """Where a folder of the workspace is to be had as a tar stream; any of them will do, within a minute.

    Raises:
        NotFound: no such session, or nothing was ever opened for it.
        FilesAway: no live worker has the disk.
    """
    found = _addresses(context, caller, session)
    if not found:
        raise _nobody(session)
    return [context.files.archive(address, session, path, gzip=gzip) for address in found]


def diff(context: Context, caller: Caller, session: SessionId, *, base: str) -> Diff:
    """What the workspace's files differ in from a commit of its repository.

    Raises:
        NotARepository: it is none.
        InvalidField: `base` names no commit.
        GitTimedOut, GitFailed: git cannot tell.
        NotFound, FilesAway: as for `listing`.
    """
    return _ask(context, caller, session, lambda far, at: far.diff(at, session, base=base))


def git_status(context: Context, caller: Caller, session: SessionId) -> Status:
    """Where the workspace's repository stands; raises as `diff`."""
    return _ask(context, caller, session, lambda far, at: far.status(at, session))


def git_log(context: Context, caller: Caller, session: SessionId, *, limit: int, skip: int) -> Sequence[Commit]:
    """Commits of the workspace's repository, newest first; raises as `diff`."""
    return _ask(context, caller, session, lambda far, at: far.log(at, session, limit=limit, skip=skip))


def _tell(act: Act, session: SessionId, data: JsonObject) -> None:
    # The log of an ended session is closed by its last event; its files can still be changed.
    if act.lock(session).status is not SessionStatus.ENDED:
        act.tell(session, [Draft(EventType.FILE_CHANGED, {**data, "by": act.caller.name})])


def remove(context: Context, caller: Caller, session: SessionId) -> None:
    """Remove the workspace of an ended session, where Corral made it. Safe to repeat.

    Raises:
        NotFound: no such session.
        FilesAway: no live worker has the disk, or it could not be removed.
    """
    with suppress(NoWorkspace):
        _ask(context, caller, session, lambda far, at: far.remove(at, session))


def _ask(context: Context, caller: Caller, session: SessionId, ask: Callable[[RemoteFiles, str], Told]) -> Told:
    addresses = _addresses(context, caller, session)
    trouble = _nobody(session)
    for address in addresses:
        try:
            return ask(context.files, address)
        except FilesAway as problem:
            trouble = problem
    raise trouble


def _nobody(session: SessionId) -> FilesAway:
    return FilesAway(f"No live worker has the disk that holds the files of {session}.")


def _addresses(context: Context, caller: Caller, session: SessionId) -> list[str]:
    with context.db.read() as connection:
        head = head_of(connection, caller, session)
        if head.volume_id is None:
            # Nobody opened the workspace yet, so there is nothing to list.
            raise NoWorkspace("workspace of", session)
        rows = workers.live(connection, "worker")
    return [row.address for row in rows if row.volume_id == head.volume_id and row.address]
