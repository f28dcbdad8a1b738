"""What the scripted model says: markers in the prompt, run in order, one tool call per reply.

`[[bash:echo hi > f.txt]] [[ask]]` calls Bash, then asks, then says what the tools answered. How far
a script is follows from the tool results after the prompt alone, so the server keeps no state for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Json = dict[str, object]

MARKER = re.compile(r"\[\[([a-z]+)(?::(.*?))?\]\]", re.DOTALL)

PLAN_TEXT = "# Plan\n1. create f.txt\n2. done\n"
QUESTION = "Which database should we use?"


@dataclass(frozen=True, slots=True)
class Step:
    """One marker of the prompt."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Said:
    """One item of a request, in order: somebody's text, a tool call or a tool's result."""

    role: str
    kind: str
    text: str
    ref: str = ""


@dataclass(slots=True)
class Reply:
    """What to answer: blocks of one message, or an error status."""

    blocks: list[Json] = field(default_factory=list)
    status: int = 200
    pause_s: float = 0.0
    """Seconds between two pieces of text."""
    hang: bool = False
    """Say the blocks, then nothing more, and keep the connection open."""
    remark: str = ""


def flatten(messages: Sequence[Json]) -> list[Said]:
    """The request's messages as one list."""
    items: list[Said] = []
    for message in messages:
        role = str(message.get("role"))
        content = message.get("content")
        if isinstance(content, str):
            items.append(Said(role, "text", content))
        elif isinstance(content, list):
            items.extend(_item(role, block) for block in content if isinstance(block, dict))
    return items


def _item(role: str, block: Json) -> Said:
    kind = str(block.get("type"))
    if kind == "tool_use":
        return Said(role, kind, json.dumps(block.get("input")), str(block.get("id")))
    if kind == "tool_result":
        return Said(role, kind, _result_text(block.get("content")), str(block.get("tool_use_id")))
    return Said(role, kind, str(block.get("text") or block.get("thinking") or ""))


def _result_text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, dict))
    return str(content)


_NOT_A_PROMPT = ("<system-reminder>", "[Request interrupted", "<local-command", "<command-name>", "<task-notification")


def is_prompt(item: Said) -> bool:
    """Whether a human (and not the agent itself) wrote this item."""
    text = item.text.lstrip()
    return item.role == "user" and item.kind == "text" and bool(text) and not text.startswith(_NOT_A_PROMPT)


def prompts(items: Sequence[Said]) -> list[int]:
    """Where the human's prompts stand in `items`."""
    return [place for place, item in enumerate(items) if is_prompt(item)]


def steps(prompt: str) -> list[Step]:
    """The markers of a prompt, in order."""
    return [Step(name, argument) for name, argument in MARKER.findall(prompt)]


def _tool(name: str, given: Json) -> Json:
    return {"type": "tool_use", "name": name, "input": given}


def _bash(argument: str) -> Json:
    return _tool("Bash", {"command": argument, "description": "Run the command"})


def _later(argument: str) -> Json:
    return _tool("Bash", {"command": argument, "description": "Run it later", "run_in_background": True})


def _mcp(argument: str) -> Json:
    """`mcp:orchard/pick={"fruit": "plum"}`."""
    name, _, given = argument.partition("=")
    server, _, tool = name.partition("/")
    return _tool(f"mcp__{server}__{tool}", json.loads(given))


def _write(argument: str) -> Json:
    path, _, content = argument.partition("=")
    return _tool("Write", {"file_path": path, "content": content})


def _ask(argument: str) -> Json:
    """`ask`, `ask:many` for several labels at once, or `ask:Which colour?|blue|green`."""
    text, *labels = argument.split("|") if "|" in argument else (QUESTION, "Postgres", "Redis")
    options = [{"label": label, "description": f"choose {label}"} for label in labels]
    question = {"question": text, "header": "Choice", "multiSelect": argument == "many", "options": options}
    return _tool("AskUserQuestion", {"questions": [question]})


TOOLS: dict[str, Callable[[str], Json]] = {
    "bash": _bash,
    "later": _later,
    "mcp": _mcp,
    "write": _write,
    "ask": _ask,
    "plan": lambda _argument: _tool("ExitPlanMode", {"plan": PLAN_TEXT}),
    "enterplan": lambda _argument: _tool("EnterPlanMode", {}),
    "agent": lambda argument: _tool(
        "Agent",
        {"description": "sub task", "prompt": argument or "Say hello", "subagent_type": "general-purpose"},
    ),
    "task": lambda argument: _tool("TaskCreate", {"subject": argument, "description": f"do {argument}"}),
    "taskdone": lambda argument: _tool("TaskUpdate", {"taskId": argument, "status": "completed"}),
}
"""Markers that call a tool; each waits for its result before the next marker runs."""


def answer(items: Sequence[Said], *, retry: int, serial: int) -> Reply:
    """What the model says to this request. `retry` is how often the client has tried it before."""
    places = prompts(items)
    prompt = items[places[-1]].text if places else ""
    after = items[places[-1] + 1 :] if places else []
    results = [item.text for item in after if item.kind == "tool_result"]
    reply = Reply()
    done = 0
    for step in steps(prompt):
        if step.name in TOOLS:
            if done == len(results):
                reply.blocks.append(TOOLS[step.name](step.argument))
                return reply
            done += 1
            # What stood before a call that has been answered was said in an earlier reply.
            reply = Reply()
        else:
            _speak(reply, step, items[: places[-1]], retry)
            if reply.status != 200 or reply.hang:
                return reply
    said = f"Done. The tools said: {json.dumps(results)}" if results else "Hello from the scripted model"
    reply.blocks.append({"type": "text", "text": f"{said} (reply {serial})."})
    return reply


def _speak(reply: Reply, step: Step, before: Sequence[Said], retry: int) -> None:
    match step.name:
        case "say":
            reply.blocks.append({"type": "text", "text": step.argument})
        case "think":
            reply.blocks.append({"type": "thinking", "thinking": "Let me think about this for a moment."})
        case "slow":
            reply.pause_s = 0.1
            reply.blocks.append({"type": "text", "text": "slow text " * int(step.argument or "10")})
        case "big":
            reply.blocks.append({"type": "text", "text": "x" * int(step.argument)})
        case "hang":
            reply.hang = True
        case "err":
            _fail(reply, step.argument, retry)
        case "recall":
            _recall(reply, before)


def _fail(reply: Reply, argument: str, retry: int) -> None:
    """`err:529` fails twice, `err:400` always; `err:529:9` fails nine times."""
    status, _, times = argument.partition(":")
    limit = int(times) if times else {"529": 2, "500": 2, "429": 2}.get(status, 1_000_000)
    if retry < limit:
        reply.status = int(status)
        reply.remark = f"scripted {status}"


def _recall(reply: Reply, before: Sequence[Said]) -> None:
    words = [
        step.argument for item in before if is_prompt(item) for step in steps(item.text) if step.name == "remember"
    ]
    answered = any(item.role == "assistant" for item in before)
    if not words or not answered:
        reply.status = 400
        reply.remark = "asked to recall, but the request holds no earlier turn with something to remember"
        return
    reply.blocks.append({"type": "text", "text": f"You told me to remember: the word is {words[-1]}. "})
