"""A small client of the API for the command line."""

from __future__ import annotations

import ipaddress
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import click
import requests

from cli.home import Home

_CONNECT_S: Final = 5.0
_READ_S: Final = 60.0
"""Streams carry a heartbeat every 15 s; longer silence means that the connection is dead."""
_PATIENCE_S: Final = 30.0
"""An API that was there and went away is expected back within this time: it may be restarting."""
_PAUSE_S: Final = 0.3
_PAGE: Final = 200


class RemoteProblem(click.ClickException):
    """The API refused or could not be reached; shows its own words."""


class RemoteAway(RemoteProblem):
    """The API could not be reached, or said that it cannot answer now."""


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks with one API as one key. Paths are relative to /v1."""

    url: str
    key: str
    http: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str | int) -> Any:
        """One request; the parsed answer.

        Raises:
            RemoteProblem: the API is away or answered with a problem.
        """
        with self._ask(method, path, json=body, params=query) as answer:
            if answer.status_code == requests.codes.no_content:
                return None
            try:
                return answer.json()
            except ValueError:
                raise RemoteProblem(f"What answers at {self.url} is not Corral.") from None

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All rows of a list, page after page.

        Raises:
            RemoteProblem: as for `call`.
        """
        page = self.call("GET", path, limit=_PAGE)
        yield from page["data"]
        while page["next_cursor"] is not None:
            page = self.call("GET", path, limit=_PAGE, cursor=page["next_cursor"])
            yield from page["data"]

    def events(self, session: str, after: int) -> Iterator[dict[str, Any]]:
        """The session's events behind `after`, live, until it ends; reconnects while the API is away for moments.

        Raises:
            RemoteProblem: the API refuses, or is away for longer.
        """
        lost_at: float | None = None
        while True:
            try:
                for event in self._stream(session, after):
                    lost_at, after = None, event["seq"]
                    yield event
                    if event["type"] == "session_ended":
                        return
            except RemoteAway:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > _PATIENCE_S:
                    raise
            time.sleep(_PAUSE_S)

    def _stream(self, session: str, after: int) -> Iterator[dict[str, Any]]:
        path = f"/sessions/{segment(session)}/events"
        headers = {"Accept": "text/event-stream"}
        with self._ask("GET", path, params={"after": after}, headers=headers, stream=True) as answer:
            try:
                # Each piece as it comes, where the server marks pieces; byte by byte where a proxy has joined them.
                for line in answer.iter_lines(chunk_size=None if answer.raw.chunked else 1):
                    if line.startswith(b"data:"):
                        yield json.loads(line[5:])
            except requests.RequestException as problem:
                raise self._away(problem) from problem

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        url = f"{self.url}/v1{path}"
        try:
            answer = self.http.request(method, url, auth=self._sign, timeout=(_CONNECT_S, _READ_S), **more)
        except requests.RequestException as problem:
            raise self._away(problem) from problem
        if answer.ok:
            return answer
        with answer:
            raise (RemoteAway if answer.status_code in {502, 503, 504} else RemoteProblem)(_told(answer))

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As `auth`, not as a header: a .netrc of the user would replace that.
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request

    def _away(self, problem: requests.RequestException) -> RemoteAway:
        return RemoteAway(f"Corral cannot be reached at {self.url} ({problem.__class__.__name__}). Does it run?")


def segment(text: str) -> str:
    """`text` as one segment of a path, whatever is in it."""
    return quote(text, safe="") or "-"


def _told(answer: requests.Response) -> str:
    try:
        problem = answer.json()
        return f"{problem.get('detail') or problem.get('title')} ({problem['code']})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"The API answered {answer.status_code}."


def connect(home: Home) -> Client:
    """A client of the API that `CORRAL_URL` and `CORRAL_KEY` name, else of the `corral up` of this home.

    Raises:
        ClickException: neither is there.
    """
    url = address(home)
    key = os.environ.get("CORRAL_KEY") or (home.api_key.read_text().strip() if home.api_key.exists() else "")
    if not key:
        raise click.ClickException("There is no API key: set CORRAL_KEY.")
    if not (key.isascii() and key.isprintable()):
        raise click.ClickException("CORRAL_KEY is no API key: those begin with crl_.")
    return client(url, key)


def address(home: Home) -> str:
    """Where the API is that `CORRAL_URL` names, else the one of the `corral up` of this home.

    Raises:
        ClickException: neither is there.
    """
    url = os.environ.get("CORRAL_URL") or (home.url.read_text().strip() if home.url.exists() else "")
    if not url:
        raise click.ClickException(f"Corral does not run on {home.root}. Start it with `corral up`, or set CORRAL_URL.")
    return url.rstrip("/")


def client(url: str, key: str) -> Client:
    """A client of the API at `url` as one key."""
    made = Client(url.rstrip("/"), key)
    # A proxy of the environment leads away from this machine.
    made.http.trust_env = not _is_local(url)
    return made


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
