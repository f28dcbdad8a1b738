"""What every answer of the API carries, whichever shell gives it: request id, security headers, the waiting marker."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

from shared.domain.event import EventType

VERSION = "1.0"
"""Of the contract, told by the OpenAPI document and to MCP clients."""

REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Set where an answer does not say otherwise. The documentation page has a policy of its own."""

WAIT_HEADER = "Corral-Wait"
"""Between Flask and the shell only: `<session> <state> <path>`. The shell takes it off."""

AGAIN = "corral.again"
"""Key of the ASGI scope that marks the shell's own repetition of a waiting request."""
REQUEST_ID = "corral.request_id"
TRANSPORT = "corral.transport"
"""Key of the ASGI scope with the connection's transport, where the server lets us see it."""

GUEST = "corral.guest"
"""Key of the ASGI scope with who asks, where a door of the shell has let them in."""

UPLOAD = "corral.upload"
"""Key of the ASGI scope with the `Upload` the shell has taken in."""
FETCH_HEADER = "Corral-Fetch"
"""Between Flask and the shell only: JSON, a list of `[url, headers]` any of which gives the answer's body."""

UNTIL_DONE = "open"
"""The state of what a caller waits to be over, whatever other states it passes."""


NO_NEWS: Final = frozenset(
    {
        EventType.MESSAGE_CHUNK,
        EventType.THINKING_CHUNK,
        EventType.TOOL_OUTPUT_CHUNK,
        EventType.TOOL_CALL,
        EventType.TOOL_RESULT,
        EventType.MESSAGE,
        EventType.USAGE,
        EventType.NOTICE,
        EventType.PLAN_UPDATE,
        EventType.FILE_CHANGED,
    }
)
"""Events that change no state; only a reader of lines waits for them."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a caller waits for: a change of `state` in `session`, seen by asking GET `path` again.

    With `UNTIL_DONE` no change counts but the end.
    """

    session: str
    state: str
    path: str

    def header(self) -> str:
        """The marker's text."""
        return f"{self.session} {self.state} {self.path}"


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is to become a file, gathered by the shell."""

    file: IO[bytes]
    size_bytes: int
    sha256: str


def read_waiting(text: str) -> Waiting:
    """The marker in a header's text."""
    session, state, path = text.split(" ", 2)
    return Waiting(session, state, path)


def request_id(wished: str) -> str:
    """The caller's own request id where it can be taken, else a new one: it goes into headers and logs."""
    return wished if _REQUEST_ID.fullmatch(wished) else f"req_{secrets.token_hex(12)}"


def scope_of(environ: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ASGI scope a WSGI request came in with; empty where Flask runs by itself."""
    scope: Mapping[str, Any] = environ.get("asgi.scope") or {}
    return scope
