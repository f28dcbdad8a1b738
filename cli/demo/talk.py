"""The words that only speak: texts, streams, to-dos, questions, plans."""

from __future__ import annotations

import json
import time

from cli.demo.turn import FOREVER_S, EndTurn, Tool, Turn

BATCH_BYTES = 32768
"""`flood` hands the pipe this much at a time: half of what a pipe holds."""


def say(turn: Turn, text: str) -> None:
    """Say a text in one piece."""
    turn.message(text)


def think(turn: Turn, text: str) -> None:
    """Think aloud."""
    turn.think(text)


def stream(turn: Turn, n: int, delay_ms: float) -> None:
    """Say a text in n pieces."""
    turn.stream([f"piece {i} of {n}\n" for i in range(1, n + 1)], delay_ms / 1000)


def flood(turn: Turn, n: int, size: int) -> None:
    """Print n pieces of tool output as fast as the host reads."""
    with Tool(turn, "Flood", {"chunks": n, "bytes": size}) as tool:
        wire, batch, held = turn.agent.wire, [], 0
        for i in range(1, n + 1):
            line = _chunk(tool.id, f"{i} ".ljust(size, "."))
            batch.append(line)
            held += len(line)
            if held >= BATCH_BYTES:
                wire.put(b"".join(batch))
                batch, held = [], 0
                turn.attend(0)
        wire.put(b"".join(batch))
        tool.done(f"{n} chunks")


def rate(turn: Turn, per_s: float, seconds: float) -> None:
    """Print pieces of tool output at an even pace, each by itself."""
    if per_s == 0:
        turn.pause(seconds)
        return
    with Tool(turn, "Rate", {"per_s": per_s, "seconds": seconds}) as tool:
        start = time.monotonic()
        total = int(per_s * seconds)
        for i in range(total):
            turn.pause(start + i / per_s - time.monotonic())
            turn.agent.wire.put(_chunk(tool.id, str(i + 1)))
        tool.done(f"{total} chunks")


def _chunk(tool_id: str, text: str) -> bytes:
    # By hand: this is where the speed of a flood is decided, and nothing here needs escaping.
    return f'{{"type":"tool_output","id":"{tool_id}","at_ns":{time.time_ns()},"text":"{text}"}}\n'.encode()


def ask(turn: Turn, text: str) -> None:
    """Ask a question with options."""
    _ask(turn, text, multi_select=False)


def ask_many(turn: Turn, text: str) -> None:
    """Ask a question that takes several options."""
    _ask(turn, text, multi_select=True)


def _ask(turn: Turn, text: str, *, multi_select: bool) -> None:
    question, *options = [part.strip() for part in text.split("|")]
    shown = {
        "question": question,
        "options": [{"label": label} for label in options if label],
        "multi_select": multi_select,
    }
    answer = turn.ask("question", questions=[shown])
    answers = answer.get("answers")
    if isinstance(answers, dict):
        turn.message(f"The answer to {question!r} is {json.dumps(answers.get(question), ensure_ascii=False)}.")
    else:
        turn.message(f"The question {question!r} was declined: {answer.get('message') or 'no reason given'}")


def plan(turn: Turn, text: str) -> None:
    """Propose a plan and go on when it is approved."""
    turn.propose(text)


def todo(turn: Turn, text: str) -> None:
    """Show a to-do list and tick its items off."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    for done in range(len(items) + 1):
        show_todo(turn, items, done)


def show_todo(turn: Turn, items: list[str], done: int) -> None:
    """Show `items` with the first `done` of them completed and the next one begun."""
    states = ["completed"] * done + ["in_progress"] + ["pending"] * len(items)
    listed = [{"text": text, "status": status} for text, status in zip(items, states, strict=False)]
    turn.agent.wire.say("todo", items=listed)


def recall(turn: Turn, number: int) -> None:
    """Quote the prompt of an earlier turn."""
    prompts = turn.agent.memory.prompts
    if 1 <= number <= len(prompts):
        turn.message(f"In turn {number} you said: {prompts[number - 1]}")
    else:
        turn.message(f"I remember {len(prompts)} turns, none of them is number {number}.")


def mode(turn: Turn) -> None:
    """Say which mode it is in."""
    turn.message(f"My mode is {turn.agent.mode}.")


def model(turn: Turn) -> None:
    """Say which model it plays."""
    turn.message(f"My model is {turn.agent.model}.")


def clock(turn: Turn) -> None:
    """Say the time in nanoseconds since 1970, taken right before it is said."""
    turn.message(str(time.time_ns()))


def retry(turn: Turn, n: int, delay_s: float) -> None:
    """Pretend that the model was busy n times."""
    for attempt in range(1, n + 1):
        turn.agent.wire.say("retrying", attempt=attempt, max_attempts=n, delay_s=delay_s, error="overloaded")
        turn.pause(delay_s)


def usage(turn: Turn, tokens_in: int, tokens_out: int, cost_usd: float) -> None:
    """Set what the turn will report as used."""
    turn.usage = (tokens_in, tokens_out, cost_usd)


def tokens(turn: Turn, tokens_in: int, tokens_out: int) -> None:
    """Report these tokens at once, and no cost, as an agent does that knows no prices."""
    turn.usage = (tokens_in, tokens_out, None)
    turn.tell_usage()


def sleep(turn: Turn, seconds: float) -> None:
    """Do nothing for a while."""
    turn.pause(seconds)


def heed(turn: Turn, seconds: float) -> None:
    """Wait until somebody steers the turn."""
    until = time.monotonic() + seconds
    while not turn.agent.steers and (left := until - time.monotonic()) > 0:
        turn.attend(min(left, FOREVER_S))


def error(_turn: Turn, text: str) -> None:
    """Fail the turn."""
    raise EndTurn("failed", "error", text)
