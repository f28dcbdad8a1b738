"""The thread a process holds: how it is begun, resumed or copied, and what Codex says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.agents import jsonlines
from shared.agents.codex import outcome, rollout
from shared.agents.codex.modes import THREAD_SETTINGS
from shared.agents.codex.rollout import Mirror
from shared.agents.codex.wishes import Asked, What
from shared.agents.driver import LaunchOptions, Output, Ready, TurnEnd
from shared.agents.jsonrpc import Failure, Peer
from shared.agents.notices import EXCERPT_CHARS
from shared.domain.json import JsonObject

_CLIENT: JsonObject = {"name": "corral", "title": "Corral", "version": "1"}
_VERSION = re.compile(r"/(\d[\w.+-]{0,40})")
_UNKNOWN = re.compile(r"no rollout found|thread not found|invalid (session|thread) id")


class Thread:
    """One thread of Codex. Until it is ready no prompt can be said."""

    def __init__(self, options: LaunchOptions, peer: Peer[Asked], mirror: Mirror) -> None:
        self._options = options
        self._peer = peer
        self._mirror = mirror
        self._version: str | None = None
        self._provider = ""
        self._default_model = ""
        self.id = ""
        self.model = options.model or ""
        self.effort = ""
        self.is_ready = False
        self.broken: TurnEnd | None = None
        """How each prompt ends, where there is no thread and none can be had."""

    def open(self) -> list[Output]:
        """The first words."""
        capabilities: JsonObject = {"experimentalApi": True}
        params: JsonObject = {"clientInfo": _CLIENT, "capabilities": capabilities}
        return [self._peer.request("initialize", params, Asked(What.INITIALIZE))]

    def choose(self, model: str | None) -> list[Output]:
        """Another model from the next turn on; None is Codex's default."""
        self.model = model or self._default_model
        # A resumed thread does not say what the default would be.
        return [] if self.model else [self._peer.request("model/list", {}, Asked(What.MODELS))]

    # --- answers

    def answered(self, what: What, value: JsonObject) -> list[Output]:
        """An answer to one of the requests made here."""
        match what:
            case What.INITIALIZE:
                found = _VERSION.search(jsonlines.text(value, "userAgent"))
                self._version = found[1] if found else None
                config = self._peer.request("config/read", {}, Asked(What.CONFIG))
                return [self._peer.notify("initialized", {}), config]
            case What.CONFIG:
                self._provider = jsonlines.text(jsonlines.obj(value, "config"), "model_provider")
                return [self._begun()]
            case What.THREAD:
                return self._opened(value)
            case What.MODELS:
                self._models_told(value)
        return []

    def refused(self, what: What, failure: Failure[Asked]) -> list[Output]:
        """One of the requests made here was refused."""
        match what:
            case What.CONFIG:
                return [self._begun()]
            case What.INITIALIZE | What.THREAD:
                return self._break(failure.message)
        return []

    def _begun(self) -> Output:
        known, asked = self._options.agent_session_id, Asked(What.THREAD)
        if not known:
            return self._started(asked)
        # Under the provider of now, not the one it was begun with: our own may be new to it.
        kept = jsonlines.present(modelProvider=self._provider)
        params: JsonObject = {**self._settings(), **kept, "threadId": known, "excludeTurns": True}
        return self._peer.request("thread/fork" if self._options.fork else "thread/resume", params, asked)

    def _started(self, asked: Asked) -> Output:
        # A thread of the other kind, `paginated`, lies in several files once it was copied.
        return self._peer.request("thread/start", {**self._settings(), "historyMode": "legacy"}, asked)

    def _settings(self) -> JsonObject:
        return {"cwd": self._options.cwd, **THREAD_SETTINGS, **jsonlines.present(model=self.model)}

    def _opened(self, value: JsonObject) -> list[Output]:
        thread = jsonlines.obj(value, "thread")
        # A resumed conversation may be longer than a line may be; its name is known.
        resumed = None if self._options.fork else self._options.agent_session_id
        name = jsonlines.text(thread, "id") or resumed
        if not name:
            return self._break("Codex did not name its thread.")
        mirrored = len(rollout.read(name, self._options.transcript).content) if name == resumed else 0
        if not self._options.model and not self._options.agent_session_id:
            self._default_model = jsonlines.text(value, "model")
        return [self._is_now(name, value, mirrored=mirrored)]

    def _is_now(self, name: str, value: JsonObject, *, mirrored: int = 0) -> Ready:
        self._mirror.begin(jsonlines.text(jsonlines.obj(value, "thread"), "path"), known=mirrored)
        self.id, self.is_ready = name, True
        self.effort = jsonlines.text(value, "reasoningEffort")
        self.model = self.model or jsonlines.text(value, "model")
        return Ready(name, self.model or None, self._version)

    def clear(self, asked: Asked) -> Output:
        """Begin a fresh thread in this one's place; `cleared` takes the answer."""
        return self._started(asked)

    def cleared(self, value: JsonObject) -> Ready | None:
        """The fresh thread is there; None where Codex does not name it, and all stays as it was."""
        name = jsonlines.text(jsonlines.obj(value, "thread"), "id")
        return self._is_now(name, value) if name else None

    def _break(self, message: str) -> list[Output]:
        # Up nevertheless: its turns tell what is wrong, and the host knows what to do with an unknown conversation.
        resumed = bool(self._options.agent_session_id)
        is_stale = resumed and _UNKNOWN.search(message) is not None
        self.broken = outcome.unknown_conversation(message) if is_stale else outcome.failed({"message": message})
        self.is_ready = True
        return [Ready(self._options.agent_session_id, self.model or None, self._version)]

    def _models_told(self, value: JsonObject) -> None:
        models: Sequence[JsonObject] = jsonlines.objects(value, "data")
        defaults = [jsonlines.text(each, "model") for each in models if each.get("isDefault") is True]
        self._default_model = jsonlines.cut(defaults[0], EXCERPT_CHARS) if defaults else ""
        self.model = self.model or self._default_model
