"""The API's way to the files of a workspace: the internal HTTP of the worker whose disk holds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any
from urllib.parse import urlencode

import requests

from shared.domain.clock import from_text
from shared.domain.errors import CorralError, FilesAway, InvalidField, NotFound, WorkspaceUnusable
from shared.domain.errors_files import FileThere, FolderNotEmpty, VolumeFull, WorkspaceFull
from shared.domain.errors_git import GitFailed, GitTimedOut, NotARepository
from shared.domain.ids import SessionId
from shared.workspaces import gitviews, signed
from shared.workspaces.gitviews import Change, Commit, Diff, Status
from shared.workspaces.opener import MAX_ENTRIES, MAX_READ_BYTES, Chunk, Entry, Listing
from shared.workspaces.writer import Written

TIMEOUT_S = 5.0
"""For the connection, and again for each piece of the answer."""
SIZE_HEADER = "X-Corral-File-Size"
MODIFIED_HEADER = "X-Corral-File-Modified"


WRITE_S = 120.0
"""For the answer once a file was sent: it is told as written when it is on the disk, which may be slow."""
GIT_S = 4 * gitviews.TIMEOUT_S
"""For git's answer: a diff asks it three times, and may wait for its turn."""
_PIECE = 256 * 1024
_TOLD_ON: Mapping[str, Callable[..., CorralError]] = {
    kind.code: kind
    for kind in (NotFound, InvalidField, FileThere, FolderNotEmpty, WorkspaceFull, VolumeFull, GitFailed)
} | {
    NotARepository.code: lambda doing, problem: NotARepository(doing),  # noqa: ARG005 - made of its facts
    GitTimedOut.code: lambda doing, problem: GitTimedOut(doing, gitviews.TIMEOUT_S),  # noqa: ARG005
}
"""Errors that reach the caller as the worker told them; each is made of its facts."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes that are to become a file."""

    file: IO[bytes]
    size_bytes: int
    sha256: str
    """In hexadecimal digits."""

    def pieces(self) -> Iterator[bytes]:
        """All of it from the beginning, however often it is asked for."""
        self.file.seek(0)
        while piece := self.file.read(_PIECE):
            yield piece


@dataclass(frozen=True, slots=True)
class Fetch:
    """A signed request that whoever streams has to make within a minute."""

    url: str
    headers: Mapping[str, str]


class RemoteFiles:
    """Files of all sessions, through their workers. Keeps connections; for any number of threads."""

    def __init__(self, key: bytes, *, timeout_s: float = TIMEOUT_S) -> None:
        self._key = key
        self._timeout_s = timeout_s
        self._http = requests.Session()
        # Neither a proxy of the environment nor credentials of a .netrc have a place between our own processes.
        self._http.trust_env = False

    def listing(
        self, address: str, session: SessionId, path: str, *, depth: int = 1, limit: int = MAX_ENTRIES
    ) -> Listing:
        """As `opener.listing`, on the worker at `address` (host:port).

        Raises:
            InvalidField: the path cannot be taken, or is no folder.
            NotFound: there is no such folder in the workspace, or no workspace on that worker.
            FilesAway: the worker cannot be reached, or cannot open the workspace.
        """
        answer = self._ask(address, session, "list", path, depth=depth, limit=limit)
        told = _json(answer)
        return Listing(tuple(_entry(entry) for entry in told["entries"]), truncated=bool(told["truncated"]))

    def info(self, address: str, session: SessionId, path: str) -> Entry:
        """As `opener.info`, on the worker at `address`.

        Raises:
            InvalidField, NotFound, FilesAway: as for `listing`.
        """
        return _entry(_json(self._ask(address, session, "info", path)))

    def read(
        self, address: str, session: SessionId, path: str, *, offset: int = 0, limit: int = MAX_READ_BYTES
    ) -> Chunk:
        """As `opener.read`, on the worker at `address`.

        Raises:
            InvalidField, NotFound, FilesAway: as for `listing`.
        """
        answer = self._ask(address, session, "read", path, offset=offset, limit=limit)
        try:
            size, modified = int(answer.headers[SIZE_HEADER]), from_text(answer.headers[MODIFIED_HEADER])
        except (KeyError, ValueError) as trouble:
            raise _away("it answers like no worker") from trouble
        return Chunk(answer.content, offset, size, modified)

    def write(self, address: str, session: SessionId, path: str, payload: Payload, *, create_only: bool) -> Written:
        """Put a file into the workspace on the worker at `address`, whole or not at all. Safe to repeat.

        Raises:
            InvalidField: the path cannot be taken, or what is there is no plain file.
            FileThere: there is one, and `create_only`.
            WorkspaceFull, VolumeFull: there is no room for it.
            NotFound, FilesAway: as for `listing`.
        """
        query = {"session": session, "path": path, "size": payload.size_bytes, "sha256": payload.sha256}
        target = f"/file?{urlencode({**query, 'create': int(create_only)}, errors='surrogateescape')}"
        told = _json(self._send("PUT", address, target, payload.pieces(), timeout_s=WRITE_S))
        return Written(_entry(told), is_new=bool(told["created"]))

    def delete(self, address: str, session: SessionId, path: str, *, recursive: bool) -> Entry:
        """Remove a file or folder of the workspace on the worker at `address`; what it was.

        Raises:
            FolderNotEmpty: it holds something, and not `recursive`.
            InvalidField, NotFound, FilesAway: as for `listing`.
        """
        query = {"session": session, "path": path, "recursive": int(recursive)}
        return _entry(_json(self._send("DELETE", address, f"/file?{urlencode(query, errors='surrogateescape')}")))

    def archive(self, address: str, session: SessionId, path: str, *, gzip: bool) -> Fetch:
        """What to ask the worker at `address` for to get a folder as a tar stream."""
        query = {"session": session, "path": path, "gzip": int(gzip)}
        target = f"/archive?{urlencode(query, errors='surrogateescape')}"
        return Fetch(f"http://{address}{target}", signed.sign(self._key, "GET", target))

    def diff(self, address: str, session: SessionId, *, base: str) -> Diff:
        """As `gitviews.diff`, on the worker at `address`.

        Raises:
            InvalidField: `base` names no commit.
            NotARepository, GitTimedOut, GitFailed: git cannot tell.
            NotFound, FilesAway: as for `listing`.
        """
        return Diff(**self._git(address, session, "diff", base=base))

    def status(self, address: str, session: SessionId) -> Status:
        """As `gitviews.status`, on the worker at `address`; raises as `diff`."""
        told = self._git(address, session, "status")
        return Status(**{**told, "changes": tuple(Change(**one) for one in told["changes"])})

    def log(self, address: str, session: SessionId, *, limit: int, skip: int) -> tuple[Commit, ...]:
        """As `gitviews.log`, on the worker at `address`; raises as `diff`."""
        told = self._git(address, session, "log", limit=limit, skip=skip)
        return tuple(Commit(**{**one, "parents": tuple(one["parents"])}) for one in told["commits"])

    def remove(self, address: str, session: SessionId) -> None:
        """Remove the workspace of an ended session from the disk of the worker at `address`. Idempotent.

        Raises:
            FilesAway: the worker cannot be reached, or could not remove it.
        """
        self._send("DELETE", address, f"/files?{urlencode({'session': session})}")

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def _git(self, address: str, session: SessionId, op: str, **more: str | int) -> dict[str, Any]:
        query = urlencode({"session": session, "op": op, **more})
        told: dict[str, Any] = _json(self._send("GET", address, f"/git?{query}", timeout_s=GIT_S))
        return told

    def _ask(self, address: str, session: SessionId, op: str, path: str, **more: int) -> requests.Response:
        query = urlencode({"session": session, "op": op, "path": path, **more}, errors="surrogateescape")
        return self._send("GET", address, f"/files?{query}")

    def _send(
        self,
        method: str,
        address: str,
        target: str,
        body: Iterator[bytes] | None = None,
        *,
        timeout_s: float = 0.0,
    ) -> requests.Response:
        try:
            answer = self._http.request(
                method,
                f"http://{address}{target}",
                headers=signed.sign(self._key, method, target),
                timeout=(self._timeout_s, max(self._timeout_s, timeout_s)),
                allow_redirects=False,
                data=body,
            )
        except (requests.RequestException, ValueError) as trouble:
            raise _away("it cannot be reached") from trouble
        if answer.status_code != requests.codes.ok:
            raise problem_of(answer.status_code, answer.content)
        return answer


def problem_of(status: int, content: bytes) -> CorralError:
    """What a worker's answer that is no 200 means."""
    try:
        told = json.loads(content)
        code, facts = told["code"], told["facts"]
        if code == WorkspaceUnusable.code:
            return _away(f"the workspace cannot be used: {facts['problem']}")
        if code in _TOLD_ON:
            return _TOLD_ON[code](**facts)
    except (ValueError, KeyError, TypeError):
        pass
    return _away(f"it answers {status}")


def _away(problem: str) -> FilesAway:
    return FilesAway(f"The worker that holds this workspace is away: {problem}.", problem=problem)


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError as trouble:
        raise _away("it answers like no worker") from trouble


def _entry(told: dict[str, Any]) -> Entry:
    moment: datetime = from_text(told["modified_at"])
    return Entry(told["path"], told["type"], told["size_bytes"], moment)
