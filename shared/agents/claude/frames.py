"""Claude Code's stream-json frames: reading them without ever failing, and writing ours."""

from __future__ import annotations

from shared.agents.driver import Send
from shared.agents.jsonlines import count, cut, line, number, obj, objects, parse, present, strings, text
from shared.domain.json import JsonObject

__all__ = [
    "count",
    "cut",
    "line",
    "number",
    "obj",
    "objects",
    "parse",
    "present",
    "refusal",
    "request",
    "strings",
    "success",
    "text",
    "user",
]


def user(prompt: str, uuid: str) -> Send:
    """A prompt. Claude Code skips a uuid it has seen, in this process or in the transcript it resumed."""
    message: JsonObject = {"role": "user", "content": prompt}
    return line({"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "", "uuid": uuid})


def request(request_id: str, body: JsonObject) -> Send:
    """A control request of ours."""
    return line({"type": "control_request", "request_id": request_id, "request": body})


def success(request_id: str, response: JsonObject) -> Send:
    """Our answer to a control request of the agent."""
    inner: JsonObject = {"subtype": "success", "request_id": request_id, "response": response}
    return line({"type": "control_response", "response": inner})


def refusal(request_id: str, problem: str) -> Send:
    """Our answer to a control request of the agent that we do not serve."""
    inner: JsonObject = {"subtype": "error", "request_id": request_id, "error": problem}
    return line({"type": "control_response", "response": inner})
