"""What the agent asks and tells by requests and notifications of its own: which of it a human decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.agents import jsonlines
from shared.agents.acp.asks import OpenAsks
from shared.agents.acp.flavour import Extras, Waiting
from shared.agents.acp.forms import Form
from shared.agents.acp.notices import notice
from shared.agents.acp.permissions import Permission
from shared.agents.acp.speech import Speech
from shared.agents.acp.tools import Tools
from shared.agents.acp.wishes import AcpPeer
from shared.agents.driver import Output
from shared.agents.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Notification, Request, RpcId
from shared.agents.notices import Notices
from shared.domain.json import JsonObject

PERMISSION = "session/request_permission"
FORM = "elicitation/create"
TOO_LARGE = "The request is too large to be shown to anybody. Use smaller steps."
_NAMELESS = "It does not say which tool call it asks about."


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said and done so far."""

    speech: Speech
    tools: Tools
    notices: Notices


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about a request before a human is asked."""

    gives: Callable[[Permission], bool]
    """Whether the mode gives this permission."""
    is_stopped: Callable[[], bool]
    """Whether the turn was stopped, so that nobody will answer."""


class Requests:
    """Reads them, and opens the asks in them."""

    def __init__(self, extras: Extras, peer: AcpPeer, asks: OpenAsks, heard: Heard, standing: Standing) -> None:
        self._extras = extras
        self._peer = peer
        self._asks = asks
        self._heard = heard
        self._standing = standing

    def told(self, notification: Notification, line: str) -> Sequence[Output]:
        """The agent tells something that is no update of the session."""
        method, params = notification.method, notification.params
        if method == "$/cancel_request":
            name = params.get("requestId")
            return self._asks.withdrawn(name) if isinstance(name, int | str) else []
        told = self._extras.told(method, params)
        return self._heard.notices.unknown(method, line) if told is None else told

    def asked(self, request: Request, line: str) -> Sequence[Output]:
        """The agent asks, and waits."""
        method, params = request.method, request.params
        if method == PERMISSION:
            return self._may_it(request)
        told = self._extras.told(method, params)
        if told is not None:
            return [*told, self._peer.result(request.id, {})]
        waiting = self._waiting(method, params)
        if waiting is not None:
            return [*self._heard.speech.ended(), *self._open(request.id, waiting)]
        refusal = self._peer.failure(request.id, METHOD_NOT_FOUND, f"Corral does not serve {method[:80]!r}.")
        return [refusal, *self._heard.notices.unknown(method, line)]

    def _waiting(self, method: str, params: JsonObject) -> Waiting | None:
        if method != FORM:
            return self._extras.asked(method, params)
        return (Form(params) or None) if params.get("mode") == "form" else None

    def _may_it(self, request: Request) -> Sequence[Output]:
        frame = jsonlines.obj(request.params, "toolCall")
        spoken: list[Output] = [*self._heard.speech.ended()]
        if not jsonlines.text(frame, "toolCallId"):
            refusal = self._peer.failure(request.id, INVALID_PARAMS, _NAMELESS)
            return [*spoken, refusal, notice("ask_denied", message=_NAMELESS)]
        emits, call = self._heard.tools.asked(frame)
        plan = call.plan or self._heard.speech.last
        permission = Permission(call, jsonlines.objects(request.params, "options"), plan)
        if not self._standing.is_stopped() and self._standing.gives(permission):
            return [*spoken, *emits, self._peer.result(request.id, permission.allowed())]
        return [*spoken, *emits, *self._open(request.id, permission)]

    def _open(self, request: RpcId, waiting: Waiting) -> Sequence[Output]:
        if self._standing.is_stopped():
            return [self._peer.result(request, waiting.cancelled())]
        return self._asks.opened(request, waiting)
