"""A scripted agent that speaks ACP over stdio, in the dialect of Cursor with `--cursor`.

It does what a prompt says, step by step, steps apart by `;`: `say …`, `stream N`, `think …`, `run COMMAND`,
`write FILE=TEXT`, `ask QUESTION | LABEL | LABEL`, `plan …`, `todo A, B`, `remember WORD`, `recall`, `garbage`,
`fail …`, `strange`. Whatever else it is told it repeats. It keeps its conversations under HOME.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Frame = dict[str, Any]

PIECE = 8
TEXT = {"type": "text"}
OPTIONS = [
    {"optionId": "allow-once", "name": "Allow", "kind": "allow_once"},
    {"optionId": "allow-always", "name": "Always allow this", "kind": "allow_always"},
    {"optionId": "reject-once", "name": "Reject", "kind": "reject_once"},
]


class Cancelled(Exception):
    """The turn was cancelled."""


class Failed(Exception):
    """The turn fails with an error."""


class Line:
    """Stdin and stdout: what comes is read in a thread, so that a turn can be cancelled."""

    def __init__(self) -> None:
        self.requests: queue.Queue[Frame | None] = queue.Queue()
        self.cancelled = threading.Event()
        self._answers: dict[int, queue.Queue[Frame]] = {}
        self._ids = itertools.count(100)
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            frame = json.loads(line)
            if "method" not in frame:
                self._answers.pop(frame["id"], queue.Queue()).put(frame)
            elif frame["method"] == "session/cancel":
                self.cancelled.set()
            else:
                self.requests.put(frame)
        self.requests.put(None)

    def write(self, **frame: Any) -> None:
        with self._lock:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
            sys.stdout.flush()

    def ask(self, method: str, params: Frame) -> Frame:
        """The result of a request of ours. The client answers those of a cancelled turn, too."""
        name, answer = next(self._ids), queue.Queue[Frame]()
        self._answers[name] = answer
        self.write(id=name, method=method, params=params)
        frame = answer.get()
        if "error" in frame:
            raise Failed(frame["error"]["message"])
        return frame["result"]

    def pause(self, seconds: float) -> None:
        if self.cancelled.wait(seconds):
            raise Cancelled


class Agent:
    """One process; it serves one conversation at a time."""

    def __init__(self, *, like_cursor: bool) -> None:
        self.line = Line()
        self.like_cursor = like_cursor
        self.modes = ["agent", "plan", "ask"] if like_cursor else ["default", "plan"]
        self.mode = self.modes[0]
        self.model = "small"
        self.session = ""
        self.calls = itertools.count(1)
        self.always: set[str] = set()
        self.words: list[str] = []
        self.steps: dict[str, Callable[[str], None]] = {
            "say": self.say, "stream": self.stream, "think": self.think, "run": self.run, "write": self.write,
            "ask": self.ask, "plan": self.plan, "todo": self.todo, "remember": self.remember, "recall": self.recall,
            "garbage": self.garbage, "fail": self.fail, "strange": self.strange,
        }  # fmt: skip

    # --- the protocol

    def serve(self) -> None:
        """Answer until stdin ends."""
        while (frame := self.line.requests.get()) is not None:
            handler = getattr(self, "on_" + frame["method"].replace("/", "_"), None)
            if handler is None:
                self.line.write(id=frame["id"], error={"code": -32601, "message": "Method not found"})
                continue
            try:
                self.line.write(id=frame["id"], result=handler(frame["params"]))
            except Failed as failed:
                self.line.write(id=frame["id"], error={"code": -32603, "message": str(failed)})

    def on_initialize(self, params: Frame) -> Frame:
        assert params["protocolVersion"] == 1
        resume: Frame = {} if self.like_cursor else {"resume": {}}
        methods = [{"id": "cursor_login", "name": "Log in"}] if self.like_cursor else []
        return {
            "protocolVersion": 1,
            "agentCapabilities": {"loadSession": True, "sessionCapabilities": {"list": {}, **resume}},
            "authMethods": methods,
            "agentInfo": {"name": "scripted", "version": "1.0"},
        }

    def on_authenticate(self, params: Frame) -> Frame:
        assert params["methodId"] == "cursor_login"
        return {}

    def on_session_new(self, params: Frame) -> Frame:
        self.session, self.words = f"acp-{os.getpid()}-{time.monotonic_ns()}", []
        self.keep()
        return {"sessionId": self.session, **self.choices()}

    def on_session_resume(self, params: Frame) -> Frame:
        self.session = params["sessionId"]
        if not self.kept.is_file():
            raise Failed("no such session")
        self.words = json.loads(self.kept.read_text())
        return self.choices()

    def on_session_load(self, params: Frame) -> Frame:
        choices = self.on_session_resume(params)
        for word in self.words:
            self.update("user_message_chunk", content={**TEXT, "text": f"remember {word}"})
            self.update("agent_message_chunk", content={**TEXT, "text": f"I will remember {word}."})
            self.update("tool_call", toolCallId=f"old-{word}", title="memory", kind="other", status="completed")
        return choices

    def on_session_set_mode(self, params: Frame) -> Frame:
        return self.set_mode(params["modeId"])

    def on_session_set_model(self, params: Frame) -> Frame:
        self.model = params["modelId"]
        return {}

    def on_session_set_config_option(self, params: Frame) -> Frame:
        if params["configId"] == "mode":
            self.set_mode(params["value"])
        elif params["value"] not in {"small", "large"}:
            raise Failed(f"model not found: {params['value']}")
        else:
            self.model = params["value"]
        return {"configOptions": self.choices()["configOptions"]}

    def on_session_prompt(self, params: Frame) -> Frame:
        self.line.cancelled.clear()
        try:
            for step in self.parsed(params["prompt"][0]["text"]):
                step()
                self.line.pause(0)
        except Cancelled:
            return {"stopReason": "cancelled"}
        used = {"inputTokens": 20, "outputTokens": 10, "totalTokens": 35, "cachedReadTokens": 5}
        self.update("usage_update", used=35, size=1000, cost={"amount": 0.01 * next(self.calls), "currency": "USD"})
        return {"stopReason": "end_turn", "usage": used}

    def parsed(self, text: str) -> Iterator[Callable[[], None]]:
        for part in text.split(";"):
            verb, _, rest = part.strip().partition(" ")
            known = self.steps.get(verb)
            yield (lambda known=known, rest=rest: known(rest)) if known else (lambda part=part: self.say(part.strip()))

    def update(self, kind_: str, /, **fields: Any) -> None:
        update = {"sessionUpdate": kind_, **fields}
        self.line.write(method="session/update", params={"sessionId": self.session, "update": update})

    def ask_client(self, method: str, **params: Any) -> Frame:
        return self.line.ask(method, {"sessionId": self.session, **params})

    def set_mode(self, mode: str) -> Frame:
        if mode not in self.modes:
            raise Failed(f"no mode {mode}")
        self.mode = mode
        self.update("current_mode_update", currentModeId=mode)
        return {}

    def choices(self) -> Frame:
        modes = [{"id": mode, "name": mode.title()} for mode in self.modes]
        models = [{"value": "small", "name": "Small"}, {"value": "large", "name": "Large"}]
        if self.like_cursor:
            offered = [{"modelId": model["value"], "name": model["name"]} for model in models]
            listed = {"currentModelId": self.model, "availableModels": offered}
            return {"modes": {"currentModeId": self.mode, "availableModes": modes}, "models": listed}
        named = [{"value": mode["id"], "name": mode["name"]} for mode in modes]
        select = {"type": "select"}
        mode = {"id": "mode", "name": "Mode", "category": "mode", "currentValue": self.mode, "options": named, **select}
        model = {"id": "llm", "name": "Model", "category": "model", "currentValue": self.model, **select}
        groups = [{"group": "g", "name": "Models", "options": models}]
        return {"configOptions": [mode, {**model, "options": groups}]}

    @property
    def kept(self) -> Path:
        return Path(os.environ["HOME"], ".scripted-acp", f"{self.session}.json")

    def keep(self) -> None:
        self.kept.parent.mkdir(exist_ok=True)
        self.kept.write_text(json.dumps(self.words))

    # --- the steps

    def say(self, text: str) -> None:
        for start in range(0, len(text), PIECE):
            self.update("agent_message_chunk", content={**TEXT, "text": text[start : start + PIECE]})

    def stream(self, count: str) -> None:
        for number in range(int(count)):
            self.update("agent_message_chunk", messageId="m-stream", content={**TEXT, "text": f"word {number} "})
            self.line.pause(0.005)

    def think(self, text: str) -> None:
        self.update("agent_thought_chunk", content={**TEXT, "text": text})

    def remember(self, word: str) -> None:
        self.words.append(word)
        self.keep()
        self.say(f"I will remember {word}.")

    def recall(self, _rest: str) -> None:
        self.say(f"the word is {self.words[-1]}")

    def fail(self, why: str) -> None:
        raise Failed(why)

    def garbage(self, _rest: str) -> None:
        sys.stdout.write('Warning: something of another program\n{"jsonrpc": "2.0", "id": {}}\n')
        self.update("update_of_a_later_release", what=1)
        self.line.write(method="_vendor/news", params={})

    def strange(self, _rest: str) -> None:
        """A request the client has not offered to serve."""
        try:
            self.ask_client("fs/read_text_file", path="/etc/passwd")
        except Failed as refused:
            self.say(f"refused: {refused}")

    def todo(self, items: str) -> None:
        first, *rest = [item.strip() for item in items.split(",")]
        states = [(first, "in_progress"), *((item, "pending") for item in rest)]
        if not self.like_cursor:
            entries = [{"content": text, "status": state, "priority": "medium"} for text, state in states]
            self.update("plan", entries=entries)
            return
        todos = [{"id": text, "content": text, "status": state} for text, state in states]
        self.ask_client("cursor/update_todos", toolCallId="todo", todos=todos, merge=False)
        done = {"id": first, "content": first, "status": "completed"}
        self.ask_client("cursor/update_todos", toolCallId="todo", todos=[done], merge=True)

    # --- tools and asks

    def may(self, call: Frame) -> bool:
        """Ask for a permission, unless it was given for good."""
        if call["title"] in self.always:
            return True
        outcome = self.ask_client("session/request_permission", toolCall=call, options=OPTIONS)["outcome"]
        if outcome["outcome"] == "cancelled":
            self.end_call(call, "failed", "Cancelled.")
            raise Cancelled
        if outcome["optionId"] == "allow-always":
            self.always.add(call["title"])
        return outcome["optionId"] != "reject-once"

    def end_call(self, call: Frame, status: str, output: str) -> None:
        content = [{"type": "content", "content": {**TEXT, "text": output}}]
        self.update("tool_call_update", toolCallId=call["toolCallId"], status=status, content=content)

    def called(self, name: str, kind: str, **more: Any) -> Frame:
        call = {"toolCallId": f"call-{next(self.calls)}", "kind": kind, "status": "pending", **more}
        self.update("tool_call", **{**call, "title": name, "rawInput": {}})
        return call

    def run(self, command: str) -> None:
        call = self.called("shell", "execute", title=command, rawInput={"command": command})
        if not self.may(call):
            self.end_call(call, "failed", "The user rejected this tool call.")
            return
        self.update("tool_call_update", **{**call, "status": "in_progress"})
        with subprocess.Popen(
            ["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
        ) as process:
            try:
                while process.poll() is None:
                    self.line.pause(0.02)
            except Cancelled:
                process.kill()
                raise
            output = process.stdout.read() if process.stdout else ""
        self.end_call(call, "failed" if process.returncode else "completed", output or "(no output)")

    def write(self, rest: str) -> None:
        name, _, text = rest.partition("=")
        path = Path(name).absolute()
        diff = {"type": "diff", "path": str(path), "oldText": None, "newText": text}
        call = self.called("edit", "edit", title=f"Write {name}", content=[diff], locations=[{"path": str(path)}])
        if self.may(call):
            path.write_text(text)
            self.update("tool_call_update", toolCallId=call["toolCallId"], status="completed", content=[diff])
        else:
            self.end_call(call, "failed", "The user rejected this edit.")

    def ask(self, rest: str) -> None:
        question, *labels = [part.strip() for part in rest.split("|")]
        options = [{"id": f"o{number}", "label": label} for number, label in enumerate(labels)]
        if self.like_cursor:
            asked = [{"id": "q", "prompt": question, "options": options, "allowMultiple": False}]
            outcome = self.ask_client("cursor/ask_question", toolCallId="ask", questions=asked)["outcome"]
            chosen = outcome["answers"][0]["selectedOptionIds"] if outcome["outcome"] == "answered" else []
            said = [one["label"] for one in options if one["id"] in chosen]
        else:
            choices = [{"const": option["id"], "title": option["label"]} for option in options]
            schema = {"type": "object", "properties": {"q": {"type": "string", "oneOf": choices}}}
            outcome = self.ask_client("elicitation/create", mode="form", message=question, requestedSchema=schema)
            said = [one["label"] for one in options if one["id"] == outcome.get("content", {}).get("q")]
            outcome = {"outcome": outcome["action"]}
        if outcome["outcome"] in {"cancelled", "cancel"}:
            raise Cancelled
        self.say(f"You chose {said[0]}." if said else f"No answer: {outcome.get('reason', 'declined')}")

    def plan(self, text: str) -> None:
        if self.like_cursor:
            outcome = self.ask_client("cursor/create_plan", toolCallId="plan", name="Plan", plan=text, todos=[])[
                "outcome"
            ]
            approved, why = outcome["outcome"] == "accepted", outcome.get("reason", "")
        else:
            call = self.called("exit_plan", "switch_mode", title="Ready to code?", rawInput={"plan": text})
            approved, why = self.may(call), ""
            self.end_call(
                call, "completed" if approved else "failed", "Plan mode was left." if approved else "Not yet."
            )
        if approved:
            self.set_mode(self.modes[0])
        else:
            self.say(f"I shall plan again. {why}")
            self.line.pause(0)


def main() -> None:
    """Serve one client."""
    if "--version" in sys.argv:
        sys.stdout.write("scripted-acp 1.0\n")
        return
    Agent(like_cursor="--cursor" in sys.argv).serve()


if __name__ == "__main__":
    main()
