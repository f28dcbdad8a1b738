"""Files of a workspace, through the worker whose disk holds it; also after the session's end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from shared.domain.errors import FilesAway, NotFound
from shared.domain.ids import SessionId
from shared.domain.tenant import Caller
from shared.operations.context import Context
from shared.operations.history import head_of
from shared.store import workers
from shared.workspaces.opener import Chunk, Entry, Listing
from shared.workspaces.remote import RemoteFiles

Told = TypeVar("Told")


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
    trouble = FilesAway(f"No live worker has the disk that holds the files of {session}.")
    for address in addresses:
        try:
            return ask(context.files, address)
        except FilesAway as problem:
            trouble = problem
    raise trouble


def _addresses(context: Context, caller: Caller, session: SessionId) -> list[str]:
    with context.db.read() as connection:
        head = head_of(connection, caller, session)
        if head.volume_id is None:
            # Nobody opened the workspace yet, so there is nothing to list.
            raise NoWorkspace("workspace of", session)
        rows = workers.live(connection, "worker")
    return [row.address for row in rows if row.volume_id == head.volume_id and row.address]
