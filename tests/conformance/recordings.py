"""Recorded conversations: what the host said and the agent printed, and what the driver made of it.

A case is a folder `tests/transcripts/<agent>/<case>/` with `recording.jsonl` (one step a line: `options`, `send`,
`line`, `woke` or `end`), `expected.jsonl` (one output a line) and `provenance.md`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from shared.agents.driver import (
    Command,
    Dialogue,
    DialogueInput,
    Driver,
    ExitStatus,
    Interrupt,
    LaunchOptions,
    Leave,
    Output,
    Prompt,
    Reply,
    SetMode,
    SetModel,
    Steer,
)
from shared.domain.ask import Answer, PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.ids import SessionId, TurnId
from shared.domain.session import Mode

FOLDER: Final = Path(__file__).parents[1] / "transcripts"
WORKSPACE: Final = "/workspace"
HOME: Final = "/home/agent"

_ANSWERS: Final = {kind.__name__: kind for kind in (PermissionAnswer, QuestionAnswer, PlanAnswer)}


def cases(agent: str) -> list[Path]:
    """The agent's recorded cases."""
    return sorted(path.parent for path in FOLDER.glob(f"{agent}/*/recording.jsonl"))


def read(path: Path) -> list[Any]:
    """The JSON values in a file of one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write(path: Path, values: Sequence[Any]) -> None:
    """The reverse of `read`."""
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values), encoding="utf-8")


def replay(driver: Driver, steps: Sequence[Any]) -> list[Output]:
    """Everything a fresh dialogue gives when it lives through `steps` again."""
    first, *rest = steps
    dialogue = driver.dialogue(_options(first["options"]))
    outputs = [*dialogue.open()]
    for step in rest:
        outputs += _live_through(dialogue, step)
    return outputs


def _live_through(dialogue: Dialogue, step: Any) -> Sequence[Output]:
    match step:
        case {"send": said}:
            return dialogue.send(_SAID[said["is"]](said))
        case {"line": line, **more}:
            return dialogue.feed(line, dropped=more.get("dropped", 0))
        case {"woke": _}:
            return dialogue.woke()
        case {"end": status}:
            return dialogue.end(ExitStatus(**status))
        case _:
            msg = f"no step: {step!r}; one of options, send, line, woke and end is expected"
            raise ValueError(msg)


def lines(agent: str) -> Iterator[str]:
    """Every line the agent printed in any of its recordings, whoever recorded them."""
    for path in sorted(FOLDER.glob(f"{agent}/**/*.jsonl")):
        for step in read(path):
            if isinstance(step, dict) and isinstance(step.get("line"), str):
                yield step["line"]
            elif isinstance(step, dict) and step.get("dir") == "out":
                yield step["msg"] if isinstance(step["msg"], str) else json.dumps(step["msg"])


# --- values as JSON -------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A dataclass of the contract as JSON, its class named."""
    if is_dataclass(value):
        return {"is": type(value).__name__} | {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def options_as_step(options: LaunchOptions) -> Any:
    """The first step of a recording: what of the options a dialogue may know, without paths of a machine."""
    kept = {"session": options.session, "mode": options.mode.value, "agent_session_id": options.agent_session_id}
    return {"options": {**kept, "fork": True} if options.fork else kept}


def _options(step: Any) -> LaunchOptions:
    return LaunchOptions(
        session=SessionId(step["session"]),
        command=["agent"],
        cwd=WORKSPACE,
        home=HOME,
        mode=Mode(step["mode"]),
        model=None,
        agent_session_id=step["agent_session_id"],
        fork=step.get("fork", False),
        allow_bypass=step["mode"] == Mode.BYPASS,
    )


_SAID: Final[Mapping[str, Callable[[Any], DialogueInput]]] = {
    "Prompt": lambda step: Prompt(TurnId(step["turn"]), step["text"]),
    "Command": lambda step: Command(TurnId(step["turn"]), step["name"], step["args"]),
    "Steer": lambda step: Steer(TurnId(step["turn"]), step["text"]),
    "Reply": lambda step: Reply(step["ref"], _answer(step["answer"])),
    "SetMode": lambda step: SetMode(Mode(step["mode"])),
    "SetModel": lambda step: SetModel(step["model"]),
    "Interrupt": lambda _: Interrupt(),
    "Leave": lambda _: Leave(),
}


def _answer(step: Any) -> Answer:
    given = {key: value for key, value in step.items() if key != "is"}
    if "decision" in given:
        given["decision"] = Verdict(given["decision"])
    if given.get("next_mode"):
        given["next_mode"] = Mode(given["next_mode"])
    return _ANSWERS[step["is"]](**given)
