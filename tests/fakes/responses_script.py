"""The scripted model in the words of the Responses API: Codex's requests as `Said`, replies as its output items."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from shared.agents.codex.asks import DENIED
from shared.agents.codex.plans import APPROVED, REJECTED
from tests.fakes.model_script import Json, Said

COMPACTION = "You are performing a CONTEXT CHECKPOINT COMPACTION"
"""How Codex begins when it asks for a summary; the reply stands in for the conversation, not in it."""

_OWN_WORDS = (
    # Codex writes these as the user, and no user did.
    "<environment_context>", "<user_instructions>", "# AGENTS.md", "<permissions", "<collaboration_mode>",
    "<skills_instructions>", "<apps_instructions>", "<plugins_instructions>", "<personality_spec>",
    "Another language model started to solve this problem",
)  # fmt: skip
_ABORTED = "<turn_aborted>"
_PLAN = "<proposed_plan>"


def flatten(body: Json) -> list[Said]:
    """The request's input as one list. A plan counts as a call, and what is said to it as that call's result."""
    given = body.get("input")
    items: list[Said] = []
    for item in given if isinstance(given, list) else []:
        if isinstance(item, dict):
            items += _said(item, items)
    return _with_reasons(items)


def _with_reasons(items: Sequence[Said]) -> list[Said]:
    """Why a tool was denied belongs to its result, which says only that it was."""
    kept: list[Said] = []
    for item in items:
        if item.text.startswith(DENIED) and kept and kept[-1].kind == "tool_result":
            kept[-1] = replace(kept[-1], text=f"{kept[-1].text} {item.text}")
        else:
            kept.append(item)
    return kept


def _said(item: Json, before: Sequence[Said]) -> list[Said]:
    ref = str(item.get("call_id"))
    match item.get("type"):
        case "message":
            return [_message(item, before)]
        case "function_call" | "custom_tool_call":
            return [Said("assistant", "tool_use", str(item.get("arguments") or item.get("input")), ref)]
        case "function_call_output" | "custom_tool_call_output":
            return [Said("user", "tool_result", _output(item.get("output")), ref)]
    return []


def _message(item: Json, before: Sequence[Said]) -> Said:
    content = item.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    text, role = "\n".join(str(part.get("text", "")) for part in parts), str(item.get("role"))
    if role == "assistant" and text.startswith(_PLAN):
        return Said(role, "tool_use", text, f"plan {len(before)}")
    if role != "user":
        return Said(role, "text", text)
    if text.startswith((APPROVED, REJECTED)):
        return Said(role, "tool_result", text, _waiting_plan(before))
    if text.startswith(_ABORTED):
        return Said(role, "text", f"[Request interrupted by user] {text}")
    return Said("developer" if text.startswith(_OWN_WORDS) else role, "text", text)


def _waiting_plan(before: Sequence[Said]) -> str:
    return next((item.ref for item in reversed(before) if item.ref.startswith("plan ")), "")


def _output(output: object) -> str:
    if isinstance(output, list):
        return "\n".join(str(part.get("text", "")) for part in output if isinstance(part, dict))
    return str(output)


# --- replies --------------------------------------------------------------------------------------------------


def items_of(blocks: Sequence[Json]) -> list[Json]:
    """The blocks of a scripted reply as output items, each with an id of its own."""
    return [_ITEMS[str(block["type"])](block) for block in blocks]


def _text(block: Json) -> Json:
    return _spoken(str(block["text"]))


def _spoken(text: str) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "id": _name("msg"), "status": "completed", "content": content}


def _thinking(block: Json) -> Json:
    summary = [{"type": "summary_text", "text": block["thinking"]}]
    return {"type": "reasoning", "id": _name("rs"), "summary": summary, "encrypted_content": "ZmFrZQ=="}


def _tool(block: Json) -> Json:
    given = block["input"]
    assert isinstance(given, dict)
    return _TOOLS[str(block["name"])](given)


def _call(name: str, arguments: Json) -> Json:
    given = json.dumps(arguments)
    return {"type": "function_call", "id": _name("fc"), "call_id": _name("call"), "name": name, "arguments": given}


def _patch(given: Json) -> Json:
    lines = "".join(f"+{line}\n" for line in str(given["content"]).split("\n"))
    patch = f"*** Begin Patch\n*** Add File: {given['file_path']}\n{lines}*** End Patch\n"
    return {
        "type": "custom_tool_call",
        "id": _name("ctc"),
        "call_id": _name("call"),
        "name": "apply_patch",
        "input": patch,
    }


def _questions(given: Json) -> Json:
    asked = given["questions"]
    assert isinstance(asked, list)
    return _call(
        "request_user_input",
        {
            "questions": [
                {"id": f"q{place}", **{key: each[key] for key in ("header", "question", "options")}}
                for place, each in enumerate(asked)
            ]
        },
    )


def _plan(given: Json) -> Json:
    return _spoken(f"{_PLAN}\n{given['plan']}\n</proposed_plan>")


def _step(given: Json) -> Json:
    return _call("update_plan", {"plan": [{"step": given["subject"], "status": "in_progress"}]})


_TOOLS: Mapping[str, Callable[[Json], Json]] = {
    "Bash": lambda given: _call("exec_command", {"cmd": given["command"], "yield_time_ms": 30000}),
    "Write": _patch,
    "AskUserQuestion": _questions,
    "ExitPlanMode": _plan,
    "TaskCreate": _step,
}
"""The script's tools, which are Claude Code's, as Codex knows them."""

_ITEMS: Mapping[str, Callable[[Json], Json]] = {"text": _text, "thinking": _thinking, "tool_use": _tool}


def _name(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(8)}"
