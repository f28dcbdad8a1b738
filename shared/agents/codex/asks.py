"""What Codex waits for: its requests as asks, and answers as their results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.agents import jsonlines
from shared.agents.codex import tools
from shared.agents.codex.items import Content
from shared.agents.driver import AskApplied, AskOpen, AskWithdrawn, Output, Send
from shared.agents.jsonrpc import Request, RpcId
from shared.agents.notices import notice
from shared.domain.ask import Answer, AskKind, PermissionAnswer, QuestionAnswer, Verdict
from shared.domain.json import JsonObject, JsonValue

MAX_OPEN = 256
"""More asks at once are denied: nobody could answer them, and memory is bounded."""

COMMAND = "item/commandExecution/requestApproval"
FILE_CHANGE = "item/fileChange/requestApproval"
PERMISSIONS = "item/permissions/requestApproval"
QUESTION = "item/tool/requestUserInput"
ELICITATION = "mcpServer/elicitation/request"
OLD_METHODS = frozenset({"applyPatchApproval", "execCommandApproval"})
"""Of an earlier API, which threads begun by us do not use."""
METHODS = frozenset({COMMAND, FILE_CHANGE, PERMISSIONS, QUESTION, ELICITATION})

DENIED = "The user did not allow this:"
"""How the reason for a denial begins, in the result of the call and where Codex reads it."""
_DECLINED = "The user declined to answer."
_DECISIONS: Mapping[Verdict, str] = {
    Verdict.ALLOW: "accept",
    Verdict.ALLOW_ALWAYS: "acceptForSession",
    Verdict.DENY: "decline",
}

Result = Callable[[RpcId, JsonValue], Send]


@dataclass(frozen=True, slots=True)
class Open:
    """A request without its answer."""

    id: RpcId
    method: str
    params: JsonObject
    """Of these only what the answer needs."""
    thread: str
    item: str
    """The tool call it is about."""

    @property
    def kind(self) -> AskKind:
        """What is asked for."""
        return AskKind.QUESTION if self.method == QUESTION else AskKind.PERMISSION


class OpenAsks:
    """The requests Codex waits for, by the name their asks have."""

    def __init__(self, result: Result, content: Content) -> None:
        self._result = result
        self._content = content
        self._open: dict[str, Open] = {}

    def opened(self, request: Request) -> list[Output]:
        """Codex asks."""
        ref = ref_of(request.id)
        if ref in self._open:
            return []
        if len(self._open) >= MAX_OPEN:
            return self.denied(request, f"More than {MAX_OPEN} requests are open already.")
        shown = _SHOWN[request.method](request.params, self._content)
        if shown is None:
            return self.denied(request, "The request holds nothing that could be shown.")
        item = jsonlines.text(request.params, "itemId")
        thread = jsonlines.text(request.params, "threadId")
        ask = Open(request.id, request.method, _kept(request), thread, item)
        self._open[ref] = ask
        return [AskOpen(ref, ask.kind, shown)]

    def denied(self, request: Request, message: str) -> list[Output]:
        """Deny a request that nobody could be shown: left alone, Codex would wait for ever."""
        send = self._result(request.id, _refusal(request.method, request.params))
        return [send, notice("ask_denied", message=message)]

    def find(self, ref: str) -> Open | None:
        """The request under this name, while it is open."""
        return self._open.get(ref)

    def answered(self, ref: str, answer: Answer) -> list[Output]:
        """Bytes that carry the answer; none where Codex no longer waits for `ref`."""
        ask = self._open.pop(ref, None)
        return [] if ask is None else [self._result(ask.id, _answer(ask, answer)), AskApplied(ref)]

    def resolved(self, request: JsonValue, reason: str) -> list[Output]:
        """Codex waits no longer for the request of this id."""
        if isinstance(request, bool) or not isinstance(request, int | str):
            return []
        ref = ref_of(request)
        return [AskWithdrawn(ref, reason)] if self._open.pop(ref, None) else []

    def passed(self, item: str) -> list[Output]:
        """Codex has a result of this tool call, so it waits for no answer about it."""
        refs = [ref for ref, ask in self._open.items() if ask.item == item != ""]
        return [AskWithdrawn(ref, "withdrawn") for ref in refs if self._open.pop(ref, None)]

    def given_up(self, reason: str) -> list[Output]:
        """The turn is over: what still waits (a subagent may) is denied."""
        outputs: list[Output] = []
        for ref, ask in self._open.items():
            outputs += [self._result(ask.id, _refusal(ask.method, ask.params)), AskWithdrawn(ref, reason)]
        self._open.clear()
        return outputs

    def all_withdrawn(self, reason: str) -> list[Output]:
        """Nobody waits any more."""
        refs = list(self._open)
        self._open.clear()
        return [AskWithdrawn(ref, reason) for ref in refs]


def ref_of(request: RpcId) -> str:
    """The name of the ask. JSON tells the id 1 from the id "1"."""
    return json.dumps(request)


def _kept(request: Request) -> JsonObject:
    """A file's whole content may stand in a request; only what its answer repeats is kept."""
    kept = {PERMISSIONS: "permissions", QUESTION: "questions"}.get(request.method)
    return {kept: request.params.get(kept)} if kept else {}


# --- what a human is shown ------------------------------------------------------------------------------------


def _command(params: JsonObject, _content: Content) -> JsonObject | None:
    stdin = jsonlines.text(params, "kind") == "writeStdin"
    given = tools.command_input(params)
    given |= jsonlines.present(
        network=params.get("networkApprovalContext"), additional_permissions=params.get("additionalPermissions")
    )
    return _permission("write_stdin" if stdin else "shell", given, params)


def _file_change(params: JsonObject, content: Content) -> JsonObject | None:
    # The diff stands in the item alone: without it nobody knows what is asked.
    given = content.input_of(jsonlines.text(params, "itemId"))
    if given is None:
        return None
    return _permission("apply_patch", given | jsonlines.present(grant_root=params.get("grantRoot")), params)


def _permissions(params: JsonObject, _content: Content) -> JsonObject | None:
    given = jsonlines.present(permissions=params.get("permissions"), cwd=params.get("cwd"))
    return _permission("request_permissions", given, params) if "permissions" in given else None


def _elicitation(params: JsonObject, content: Content) -> JsonObject | None:
    about = jsonlines.obj(params, "_meta")
    if jsonlines.text(about, "codex_approval_kind") != "mcp_tool_call":
        # A form of the server's own making; nobody can fill it in here.
        return None
    server = jsonlines.text(params, "serverName")
    call = content.open_call_of(f"mcp__{server}__")
    if call is None:
        name, item, given = f"mcp__{server}", "", jsonlines.obj(about, "tool_params")
    else:
        item, name, given = call
    return _permission(name, given, {"reason": jsonlines.text(params, "message"), "itemId": item})


def _permission(tool: str, given: JsonObject, params: JsonObject) -> JsonObject:
    more = jsonlines.present(
        description=jsonlines.text(params, "reason"), tool_call_id=jsonlines.text(params, "itemId")
    )
    return {"tool_name": tool, "input": given, **more}


def _question(params: JsonObject, _content: Content) -> JsonObject | None:
    questions: list[JsonValue] = [
        {
            "question": jsonlines.text(question, "question"),
            **jsonlines.present(header=jsonlines.text(question, "header")),
            "options": [_option(option) for option in jsonlines.objects(question, "options")],
            "multi_select": False,
        }
        for question in _asked(params)
    ]
    return {"questions": questions} if questions else None


def _asked(params: JsonObject) -> list[JsonObject]:
    return [each for each in jsonlines.objects(params, "questions") if jsonlines.text(each, "question")]


def _option(option: JsonObject) -> JsonObject:
    label: JsonObject = {"label": jsonlines.text(option, "label")}
    return {**label, **jsonlines.present(description=jsonlines.text(option, "description"))}


_SHOWN: Mapping[str, Callable[[JsonObject, Content], JsonObject | None]] = {
    COMMAND: _command,
    FILE_CHANGE: _file_change,
    PERMISSIONS: _permissions,
    QUESTION: _question,
    ELICITATION: _elicitation,
}


# --- what Codex is answered -----------------------------------------------------------------------------------


def _answer(ask: Open, answer: Answer) -> JsonObject:
    if ask.method == QUESTION:
        return _told(ask, answer)
    if not isinstance(answer, PermissionAnswer) or answer.decision is Verdict.DENY:
        stop = isinstance(answer, PermissionAnswer) and answer.stop
        return _refusal(ask.method, ask.params, stop=stop)
    always = answer.decision is Verdict.ALLOW_ALWAYS
    if ask.method == PERMISSIONS:
        granted = jsonlines.present(**jsonlines.obj(ask.params, "permissions"))
        return {"permissions": granted, "scope": "session" if always else "turn"}
    if ask.method == ELICITATION:
        return {"action": "accept", "content": {}, "_meta": {"persist": "session"} if always else None}
    return {"decision": _DECISIONS[answer.decision]}


def _refusal(method: str, params: JsonObject, *, stop: bool = False) -> JsonObject:
    if method == QUESTION:
        return {"answers": _same_answer(params, _DECLINED)}
    if method == PERMISSIONS:
        return {"permissions": {}, "scope": "turn"}
    if method == ELICITATION:
        return {"action": "cancel" if stop else "decline", "content": None, "_meta": None}
    return {"decision": "cancel" if stop else "decline"}


def _told(ask: Open, answer: Answer) -> JsonObject:
    if not isinstance(answer, QuestionAnswer) or answer.answers is None:
        message = answer.message if isinstance(answer, QuestionAnswer) else None
        return {"answers": _same_answer(ask.params, f"{_DECLINED} {message or ''}".strip())}
    answers: JsonObject = {}
    for question in _asked(ask.params):
        said = answer.answers.get(jsonlines.text(question, "question"), [])
        given: list[JsonValue] = [said] if isinstance(said, str) else [*said]
        answers[jsonlines.text(question, "id")] = {"answers": given}
    return {"answers": answers}


def _same_answer(params: JsonObject, text: str) -> JsonObject:
    # Codex's own terminal marks what is no label so.
    return {jsonlines.text(each, "id"): {"answers": [f"user_note: {text}"]} for each in _asked(params)}
