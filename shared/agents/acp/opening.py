"""The way to a conversation: initialize, authenticate, a session new or resumed, then the mode and model wished for.

Whatever goes wrong on it leaves the dialogue standing with a `problem`, which each prompt then ends with: an agent
that waits for a login or lacks a model says so in the turn, and not in a process that never gets ready.
"""

from __future__ import annotations

from shared.agents import jsonlines
from shared.agents.acp.flavour import Flavour
from shared.agents.acp.notices import notice
from shared.agents.acp.selectors import Selector, Selectors
from shared.agents.acp.servers import mcp_servers
from shared.agents.acp.wishes import AcpPeer, ChangeMode, ChangeModel, Open, Wish
from shared.agents.driver import LaunchOptions, Output, Send
from shared.agents.jsonrpc import Failure
from shared.domain.json import JsonObject
from shared.domain.session import Mode

PROTOCOL_VERSION = 1
AUTH_REQUIRED = -32000
_RESUMING = ("resume", "load")


class Opening:
    """Where the conversation stands: on its way, open, or beyond hope."""

    def __init__(self, options: LaunchOptions, flavour: Flavour, peer: AcpPeer) -> None:
        self._options = options
        self._flavour = flavour
        self._peer = peer
        self._agent: JsonObject = {}
        self._logins: list[str] = []
        self._tried: set[str] = set()
        self._step = ""
        self.selectors = Selectors(flavour.modes)
        self.session_id = ""
        self.is_open = False
        self.is_unknown = False
        """The agent does not have the conversation that was to be resumed."""
        self.problem = ""

    @property
    def is_replaying(self) -> bool:
        """`session/load` tells the whole conversation once more before it answers."""
        return self._peer.awaits(Open("load"))

    @property
    def version(self) -> str | None:
        """What the agent calls its version."""
        return jsonlines.text(jsonlines.obj(self._agent, "agentInfo"), "version") or None

    def begin(self) -> Send:
        """Introduce ourselves. Of what a client may offer, forms are all: files and terminals are the agent's own."""
        capabilities: JsonObject = {
            "fs": {"readTextFile": False, "writeTextFile": False},
            "terminal": False,
            "elicitation": {"form": {}},
        }
        return self._ask("initialize", "initialize", {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": capabilities,
            "clientInfo": {"name": "corral", "title": "Corral", "version": "1"},
        })  # fmt: skip

    def answered(self, wish: Wish, result: JsonObject) -> list[Output]:
        """A step is done; what the next one takes."""
        match wish:
            case Open(step="initialize"):
                return self._introduced(result)
            case Open(step="authenticate"):
                return self._enter()
            case Open():
                return self._entered(result)
            case _:
                return self._settle()

    def failed(self, wish: Wish, failure: Failure[Wish]) -> list[Output]:
        """A step was refused."""
        step = wish.step if isinstance(wish, Open) else ""
        if failure.code == AUTH_REQUIRED and step not in ("", "authenticate"):
            return self._log_in(failure.message)
        if step == "authenticate" and not self._needs_login:
            # Logged in beforehand, perhaps: the session will tell.
            return self._enter()
        if step in _RESUMING:
            self.is_unknown, self.problem = True, failure.message or "The agent does not know this conversation."
            return []
        return self._give_up(f"{_named(wish)} was refused: {failure.message}")

    # --- the steps

    def _ask(self, step: str, method: str, params: JsonObject) -> Send:
        return self._peer.request(method, params, Open(step))

    def _introduced(self, result: JsonObject) -> list[Output]:
        self._agent = result
        version = jsonlines.count(result, "protocolVersion")
        if version != PROTOCOL_VERSION:
            return self._give_up(f"It speaks version {version} of the protocol, and Corral {PROTOCOL_VERSION}.")
        methods = jsonlines.objects(result, "authMethods")
        self._logins = [jsonlines.text(method, "id") for method in methods if jsonlines.text(method, "id")]
        login = self._next_login() if self._flavour.login_first else None
        return [self._authenticate(login)] if login else self._enter()

    @property
    def _needs_login(self) -> bool:
        return self._step != ""

    def _next_login(self) -> str | None:
        return next((one for one in self._flavour.login if one in self._logins and one not in self._tried), None)

    def _authenticate(self, login: str) -> Send:
        self._tried.add(login)
        return self._ask("authenticate", "authenticate", {"methodId": login})

    def _log_in(self, message: str) -> list[Output]:
        login = self._next_login()
        if login is not None:
            return [self._authenticate(login)]
        ways = ", ".join(self._logins[:10]) or "none"
        return self._give_up(f"It wants to be logged in ({message}). Its ways to log in: {ways}.")

    def _enter(self) -> list[Output]:
        """Make the session, or resume it: without a replay where the agent can."""
        capabilities = jsonlines.obj(self._agent, "agentCapabilities")
        servers, left_out = mcp_servers(self._options.mcp_servers, jsonlines.obj(capabilities, "mcpCapabilities"))
        params: JsonObject = {"cwd": self._options.cwd, "mcpServers": servers}
        known = self._options.agent_session_id
        self._step = "new"
        if known is None:
            return [*left_out, self._ask("new", "session/new", params)]
        params["sessionId"] = known
        if isinstance(jsonlines.obj(capabilities, "sessionCapabilities").get("resume"), dict):
            self._step = "resume"
        elif capabilities.get("loadSession") is True:
            self._step = "load"
        else:
            self.is_unknown, self.problem = True, "The agent cannot resume a conversation."
            return []
        return [*left_out, self._ask(self._step, f"session/{self._step}", params)]

    def _entered(self, result: JsonObject) -> list[Output]:
        self.session_id = self._options.agent_session_id or jsonlines.text(result, "sessionId")
        if not self.session_id:
            return self._give_up("It made a session without an id.")
        self.selectors.read_session(result)
        return self._settle()

    def _settle(self) -> list[Output]:
        """Bring about the mode and the model the session was started with, one after the other."""
        wished, selectors = self._options.model, self.selectors
        if wished and wished != selectors.model.current and self._is_untried("model"):
            if not selectors.model.is_offered:
                return self._give_up(f"It offers no choice of models, so it cannot use {wished!r}.")
            return [self.choose_model(wished)]
        theirs = self.theirs_for(self._options.mode)
        if theirs is None:
            return self._give_up(f"It offers no mode for {self._options.mode.value!r}.")
        if theirs != selectors.mode.current and self._is_untried("mode"):
            return [self.choose_mode(self._options.mode, theirs)]
        self.is_open = True
        return []

    def _is_untried(self, what: str) -> bool:
        """Once is enough: an agent may call what was asked for by another name."""
        untried = what not in self._tried
        self._tried.add(what)
        return untried

    def _give_up(self, problem: str) -> list[Output]:
        self.problem = f"The agent could not be made ready. {problem}"
        return [notice("not_ready", message=self.problem)]

    # --- modes and models, now and later

    def theirs_for(self, mode: Mode) -> str | None:
        """The agent's mode in which ours is brought about; empty where it has no modes; None where it cannot be."""
        selectors = self.selectors
        if not selectors.mode.is_offered:
            return None if mode is Mode.PLAN else ""
        theirs = selectors.their_mode(mode)
        if theirs is None and mode is not Mode.PLAN:
            theirs = selectors.their_mode(Mode.INTERACTIVE) or selectors.mode.current
        return theirs

    def choose_mode(self, mode: Mode, theirs: str) -> Send:
        """Ask for a mode."""
        return self._choose(self.selectors.mode, theirs, ChangeMode(mode, theirs), ("session/set_mode", "modeId"))

    def choose_model(self, theirs: str) -> Send:
        """Ask for a model."""
        return self._choose(self.selectors.model, theirs, ChangeModel(theirs), ("session/set_model", "modelId"))

    def _choose(self, selector: Selector, value: str, wish: Wish, older: tuple[str, str]) -> Send:
        params: JsonObject = {"sessionId": self.session_id}
        if selector.option:
            params |= {"configId": selector.option, "value": value}
            return self._peer.request("session/set_config_option", params, wish)
        method, key = older
        return self._peer.request(method, {**params, key: value}, wish)

    def chosen(self, wish: ChangeMode | ChangeModel, result: JsonObject) -> None:
        """A choice was made."""
        selector = self.selectors.mode if isinstance(wish, ChangeMode) else self.selectors.model
        selector.current = wish.theirs
        self.selectors.read_options(result)


def _named(wish: Wish) -> str:
    match wish:
        case ChangeMode(theirs=theirs):
            return f"The mode {theirs!r}"
        case ChangeModel(theirs=theirs):
            return f"The model {theirs!r}"
        case Open(step=step):
            return f"`{step}`"
    return "A prompt"
