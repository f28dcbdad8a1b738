"""How each agent that can be run here is brought to do what a scenario asks: its command and its prompts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sayings:
    """One agent's words. A scenario whose prompt is not among them is not asked of it."""

    command: Sequence[str]
    prompts: Mapping[str, str]
    leaves_out: Mapping[str, str] = field(default_factory=dict)
    """Scenarios it cannot go through though it has the abilities and the words, and why."""


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

SCRIPTED: Mapping[str, str] = {
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
}
"""What brings the scripted model to do what a scenario names. `garbage` is for unit tests: a real agent prints none."""

CODEX: Mapping[str, str] = {
    **SCRIPTED,
    "heedful": "[[say:I listen]][[slow:15]]",
    "steer": "[[say:as you steer]]",
}

_SCRIPTED_ACP = str(Path(__file__).parents[1] / "fakes/acp_agent.py")
_ACP_PROMPTS = {
    "plain": "say hello conformance",
    "free": "Please look around and tell me what you can do.",
    "tool": "run echo from-a-tool; say the tool is done",
    "failing tool": "run exit 7",
    "plan": "plan 1. look 2. leap; say after the plan",
    "question": "ask Which colour? | blue | green",
    "long text": "stream 100000",
    "long tool": "run sleep 60",
    "remember": "remember quince",
    "recall": "recall",
    "garbage": "garbage; say still here",
    "failure": "fail the model is on strike",
    "todo": "todo look, leap",
}
_ITS_OWN_HOME = "An ACP agent keeps its conversations in its home and tells nobody their form."

ACP = Sayings(
    command=(sys.executable, _SCRIPTED_ACP),
    prompts=_ACP_PROMPTS,
    leaves_out={
        "resumed where its home is lost": _ITS_OWN_HOME,
        "plan rejected": "The protocol has no words for feedback.",
        "question declined": "The protocol has no words for why.",
    },
)

CURSOR = Sayings(
    # Cursor's own program is started with `acp` behind it, which this one takes no notice of.
    command=(sys.executable, _SCRIPTED_ACP, "--cursor"),
    prompts=_ACP_PROMPTS,
    leaves_out={"resumed where its home is lost": _ITS_OWN_HOME},
)

LIVE: Mapping[str, Sayings] = {"demo": DEMO, "acp": ACP, "cursor": CURSOR}
"""By the driver's name. An agent that is not here is held to its recordings alone."""
