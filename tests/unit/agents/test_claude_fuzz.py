"""Mutated frames of Claude Code: what was not touched comes through, and memory stays bounded.

That nothing raises and every turn ends once is held for every driver by tests/conformance/test_fuzz.py.
"""

from __future__ import annotations

import json
import random
import sys
import tracemalloc

from shared.agents.claude.driver import ClaudeDriver
from shared.agents.driver import Emit, LaunchOptions, Prompt, TurnEnd
from shared.domain.event import EventType
from shared.domain.ids import SessionId, TurnId
from shared.domain.session import Mode
from tests.conformance import recordings
from tests.conformance.mutation import mutate
from tests.fixtures.missing import in_ci

FRAMES = 20_000 if in_ci() else 5_000
SEED = 329
UNTOUCHED_EVERY = 5

OPTIONS = LaunchOptions(
    session=SessionId("ses_1"),
    command=["claude"],
    cwd="/workspace",
    home="/home/agent",
    mode=Mode.INTERACTIVE,
    model=None,
    agent_session_id=None,
)


def _untouched(number: int) -> str:
    block = {"type": "text", "text": f"untouched {number}"}
    return json.dumps({"type": "assistant", "message": {"id": f"msg_{number}", "content": [block]}})


def test_untouched_frames_between_the_mutants_all_come_out():
    chance = random.Random(SEED)
    corpus = list(recordings.lines("claude"))
    dialogue = ClaudeDriver().dialogue(OPTIONS)
    dialogue.open()
    dialogue.send(Prompt(TurnId("trn_0"), "go on"))

    seen = []
    for number in range(FRAMES):
        own = number % UNTOUCHED_EVERY == 0
        outputs = dialogue.feed(_untouched(number) if own else mutate(chance, corpus))
        if any(isinstance(output, TurnEnd) for output in outputs):
            dialogue.send(Prompt(TurnId(f"trn_{number}"), "go on"))
        if own:
            seen += [out.data["text"] for out in outputs if isinstance(out, Emit) and out.type is EventType.MESSAGE]

    assert seen == [f"untouched {number}" for number in range(0, FRAMES, UNTOUCHED_EVERY)]


def test_a_dialogue_holds_no_more_after_many_frames_than_after_some():
    dialogue = ClaudeDriver().dialogue(OPTIONS)
    dialogue.open()

    def go_on(rounds: range) -> None:
        for number in rounds:
            request = {"subtype": "can_use_tool", "tool_name": f"Tool{number}", "input": {"n": "x" * 100}}
            call = {"type": "tool_use", "id": f"t{number}", "name": "TaskCreate", "input": {"subject": "x" * 100}}
            for frame in (
                {"type": "control_request", "request_id": f"r{number}", "request": request},
                {"type": "assistant", "message": {"id": f"m{number}", "content": [call]}},
                {"type": f"unknown {number}"},
            ):
                dialogue.feed(json.dumps(frame))

    go_on(range(1_200))
    tracemalloc.start()
    try:
        go_on(range(1_200, 4_000))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert grown < 1_500_000 + sys.getsizeof(dialogue)
