"""How each agent that can be run here is brought to do what a scenario asks: its command and its prompts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sayings:
    """One agent's words. A scenario whose prompt is not among them is not asked of it."""

    command: Sequence[str]
    prompts: Mapping[str, str]


DEMO = Sayings(
    command=(sys.executable, "-P", "-m", "cli.demo_agent"),
    prompts={
        "plain": "say hello conformance",
        "free": "Please look around and tell me what you can do.",
        "tool": "run echo from-a-tool; say the tool is done",
        "failing tool": "run echo oops >&2\\; exit 7",
        "plan": "plan 1. look 2. leap; say after the plan",
        "question": "ask Which colour? | blue | green",
        "long text": "stream 100000 20",
        "long tool": "run sleep 60",
        "remember": "say I will; say the word is quince",
        "recall": "recall",
        "garbage": "garbage; say still here",
        "failure": "error the model is on strike",
        "todo": "todo look, leap",
        "heedful": "say I listen; heed",
        "steer": "say as you steer",
    },
)

CODEX: Mapping[str, str] = {
    "plain": "[[say:hello conformance]]",
    "free": "Please look around and tell me what you can do.",
    "tool": "[[bash:touch f.txt && echo from-a-tool]][[say:the tool is done]]",
    "failing tool": "[[bash:exit 7]]",
    "question": "[[ask:Which colour?|blue|green]]",
    "long text": "[[slow:300]]",
    "long tool": "[[bash:python3 -c 'import time; time.sleep(60)']]",
    "remember": "[[remember:quince]] I will",
    "recall": "[[recall]]",
    "failure": "[[err:400]]",
    "todo": "[[task:look]][[task:leap]]",
    "plan": "[[plan]][[say:after the plan]]",
    "heedful": "[[say:I listen]][[slow:15]]",
    "steer": "[[say:as you steer]]",
}
"""What brings the scripted model to do what a scenario names. `garbage` is for unit tests: a real Codex prints none."""

LIVE: Mapping[str, Sayings] = {"demo": DEMO}
"""By the driver's name. An agent that is not here is held to its recordings alone."""
