"""Codex's tool items in our words: the name and input of a call, the output and success of its result."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.agents import jsonlines
from shared.domain.json import JsonObject, JsonValue

_MAX_UNWRAPPED_CHARS = 64 * 1024
"""A longer command is shown as it came: taking it apart costs a microsecond a character."""
_UNDONE = frozenset({"failed", "declined", "interrupted"})


@dataclass(frozen=True, slots=True)
class Called:
    """What a tool is called, and with what."""

    name: str
    input: JsonObject


def called(item: JsonObject) -> Called | None:
    """The call an item stands for; None where it is no tool's."""
    read = _CALLS.get(jsonlines.text(item, "type"))
    return read(item) if read else None


def command_input(item: JsonObject) -> JsonObject:
    """The command of an item or of a request about one, without the shell that Codex wraps around it."""
    command = _unwrapped(jsonlines.text(item, "command"))
    return {"command": command, **jsonlines.present(cwd=jsonlines.text(item, "cwd"))}


def _unwrapped(command: str) -> str:
    if len(command) > _MAX_UNWRAPPED_CHARS:
        return command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    is_shell = len(words) == 3 and words[0].endswith("sh") and words[1] in ("-lc", "-c")
    return words[2] if is_shell else command


def _shell(item: JsonObject) -> Called:
    return Called("shell", command_input(item))


def _patch(item: JsonObject) -> Called:
    changes: list[JsonValue] = [_change(change) for change in jsonlines.objects(item, "changes")]
    return Called("apply_patch", {"changes": changes})


def _change(change: JsonObject) -> JsonObject:
    kind = jsonlines.obj(change, "kind")
    moved = jsonlines.present(move_path=jsonlines.text(kind, "move_path"))
    diff = jsonlines.text(change, "diff")
    return {"path": jsonlines.text(change, "path"), "kind": jsonlines.text(kind, "type"), **moved, "diff": diff}


def _mcp(item: JsonObject) -> Called:
    name = f"mcp__{jsonlines.text(item, 'server')}__{jsonlines.text(item, 'tool')}"
    return Called(name, _arguments(item))


def _dynamic(item: JsonObject) -> Called:
    return Called(jsonlines.text(item, "tool") or "tool", _arguments(item))


def _arguments(item: JsonObject) -> JsonObject:
    given = item.get("arguments")
    return given if isinstance(given, dict) else jsonlines.present(arguments=given)


def _collaboration(item: JsonObject) -> Called:
    given = jsonlines.present(prompt=item.get("prompt"), agents=item.get("receiverThreadIds"), model=item.get("model"))
    return Called(f"agent_{jsonlines.text(item, 'tool') or 'tool'}", given)


def _subagent(item: JsonObject) -> Called:
    given = jsonlines.present(action=item.get("kind"), agent=item.get("agentPath"), model=item.get("model"))
    return Called("agent", given)


def _plain(name: str, *keys: str) -> Callable[[JsonObject], Called]:
    return lambda item: Called(name, jsonlines.present(**{key: item.get(key) for key in keys}))


_CALLS: Mapping[str, Callable[[JsonObject], Called]] = {
    "commandExecution": _shell,
    "fileChange": _patch,
    "mcpToolCall": _mcp,
    "dynamicToolCall": _dynamic,
    "collabAgentToolCall": _collaboration,
    "subAgentActivity": _subagent,
    "webSearch": _plain("web_search", "query", "action"),
    "imageView": _plain("view_image", "path"),
    "imageGeneration": _plain("image_generation", "revisedPrompt"),
    "sleep": _plain("sleep", "durationMs"),
}


def outcome(item: JsonObject, streamed: str) -> JsonObject:
    """The data of a result: `output`, `is_error`, how long it took. `streamed` is the output that came in pieces."""
    status, code = jsonlines.text(item, "status"), jsonlines.number(item, "exitCode")
    error = jsonlines.text(jsonlines.obj(item, "error"), "message")
    failed = status in _UNDONE or bool(error) or code not in (None, 0.0) or item.get("success") is False
    output = error or _output(item) or streamed
    if not output and code not in (None, 0.0):
        output = f"It exited with code {code:g}."
    took_ms = jsonlines.number(item, "durationMs")
    more = jsonlines.present(exit_code=None if code is None else int(code))
    # Codex tells 0 where it did not look at its clock.
    duration: JsonObject = {"duration_s": took_ms / 1000} if took_ms is not None and took_ms > 0 else {}
    return {"output": output, "is_error": failed, **more, **duration}


def _output(item: JsonObject) -> str:
    match jsonlines.text(item, "type"):
        case "commandExecution":
            return jsonlines.text(item, "aggregatedOutput")
        case "fileChange":
            changes = [_change(change) for change in jsonlines.objects(item, "changes")]
            return "\n".join(f"{change['kind']} {change['path']}" for change in changes)
        case "mcpToolCall":
            return "\n".join(_part(part) for part in jsonlines.objects(jsonlines.obj(item, "result"), "content"))
        case "dynamicToolCall":
            return "\n".join(_part(part) for part in jsonlines.objects(item, "contentItems"))
    return ""


def _part(part: JsonObject) -> str:
    text = jsonlines.text(part, "text")
    # An image's pixels are of no use in a log.
    return text or f"[{jsonlines.text(part, 'type') or json.dumps(part)[:80]}]"
