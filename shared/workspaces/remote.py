"""The API's way to the files of a workspace: the internal HTTP of the worker whose disk holds it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import requests

from shared.domain.clock import from_text
from shared.domain.errors import FilesAway, InvalidField, NotFound, WorkspaceUnusable
from shared.domain.ids import SessionId
from shared.workspaces import signed
from shared.workspaces.opener import MAX_ENTRIES, MAX_READ_BYTES, Chunk, Entry, Listing

TIMEOUT_S = 5.0
"""For the connection, and again for each piece of the answer."""
SIZE_HEADER = "X-Corral-File-Size"
MODIFIED_HEADER = "X-Corral-File-Modified"


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

    def remove(self, address: str, session: SessionId) -> None:
        """Remove the workspace of an ended session from the disk of the worker at `address`. Idempotent.

        Raises:
            FilesAway: the worker cannot be reached, or could not remove it.
        """
        self._send("DELETE", address, f"/files?{urlencode({'session': session})}")

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def _ask(self, address: str, session: SessionId, op: str, path: str, **more: int) -> requests.Response:
        query = urlencode({"session": session, "op": op, "path": path, **more}, errors="surrogateescape")
        return self._send("GET", address, f"/files?{query}")

    def _send(self, method: str, address: str, target: str) -> requests.Response:
        try:
            answer = self._http.request(
                method,
                f"http://{address}{target}",
                headers=signed.sign(self._key, method, target),
                timeout=self._timeout_s,
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError) as trouble:
            raise _away("it cannot be reached") from trouble
        if answer.status_code != requests.codes.ok:
            raise _problem(answer)
        return answer


def _problem(answer: requests.Response) -> Exception:
    try:
        told = answer.json()
        code, facts = told["code"], told["facts"]
        match code:
            case NotFound.code:
                return NotFound(facts["what"], facts["ref"])
            case InvalidField.code:
                return InvalidField(facts["field"], facts["problem"])
            case WorkspaceUnusable.code:
                return _away(f"the workspace cannot be used: {facts['problem']}")
    except (ValueError, KeyError, TypeError):
        pass
    return _away(f"it answers {answer.status_code}")


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
