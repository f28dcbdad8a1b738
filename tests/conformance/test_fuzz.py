"""No line an agent may print makes its driver raise, forget a turn, or promise what it does not keep."""

from __future__ import annotations

import json
import random

import pytest

from shared.agents.driver import (
    AskOpen,
    DialogueInput,
    Driver,
    ExitStatus,
    Interrupt,
    LaunchOptions,
    Output,
    Prompt,
    Reply,
    SetMode,
    Steer,
    TurnEnd,
)
from shared.agents.registry import DRIVERS, find
from shared.domain.ask import PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.ids import TurnId, mint_turn
from shared.domain.session import Mode
from tests.conformance import recordings, shapes
from tests.conformance.harness import options_for
from tests.conformance.mutation import mutate
from tests.fixtures.missing import in_ci

LINES = 20_000 if in_ci() else 4_000
LINES_PER_CONVERSATION = 100
SEED = 20_261_121

ANSWERS = (
    PermissionAnswer(Verdict.ALLOW),
    PermissionAnswer(Verdict.ALLOW_ALWAYS, input={"command": "true"}),
    PermissionAnswer(Verdict.DENY, message="no", stop=True),
    QuestionAnswer({"Which?": ["this", "that"]}),
    QuestionAnswer(None),
    PlanAnswer(approve=True, next_mode=Mode.ACCEPT_EDITS),
    PlanAnswer(approve=False, feedback="no"),
)


class Conversation:
    """A dialogue, the prompts it was given, and all it said."""

    def __init__(self, driver: Driver, options: LaunchOptions, chance: random.Random) -> None:
        dialogue = driver.dialogue(options)
        self.outputs: list[Output] = [*dialogue.open()]
        self.prompts = 0
        self.steers: list[TurnId] = []
        self._can_be_steered = driver.abilities.steer
        self._dialogue = dialogue
        self._chance = chance

    @property
    def ends(self) -> int:
        return sum(isinstance(output, TurnEnd) for output in self.outputs)

    def go_on(self, line: str) -> None:
        """The host does what it would do, or might, and then the agent prints a line."""
        if self.prompts == self.ends:
            self.prompts += 1
            self.outputs += self._dialogue.send(Prompt(mint_turn(), "go on"))
        if self._chance.random() < 0.1:
            self.outputs += self._dialogue.send(self._whim())
        dropped = self._chance.choice([0] * 9 + [1_000_000])
        self.outputs += self._dialogue.feed(line, dropped=dropped)

    def _whim(self) -> DialogueInput:
        asks = [output.ref for output in self.outputs if isinstance(output, AskOpen)]
        ref = self._chance.choice([*asks, "no such ask"])
        whims = [Interrupt(), SetMode(Mode.PLAN), Reply(ref, self._chance.choice(ANSWERS))]
        if self._can_be_steered:
            whims.append(Steer(mint_turn(), "faster"))
        whim = self._chance.choice(whims)
        self.steers += [whim.turn] if isinstance(whim, Steer) else []
        return whim

    def end(self) -> None:
        self.outputs += self._dialogue.end(ExitStatus(None, 9, "killed"))


@pytest.mark.parametrize("agent", sorted(DRIVERS))
def test_no_line_makes_a_driver_raise_or_break_its_promises(agent, tmp_path):
    chance = random.Random(SEED)
    options = options_for(tmp_path, ["agent"])
    corpus = list(recordings.lines(agent))
    assert corpus, f"record what {agent} prints, under tests/transcripts/{agent}/<case>/"

    for _ in range(LINES // LINES_PER_CONVERSATION):
        conversation = Conversation(find(agent), options, chance)
        lines = [mutate(chance, corpus) for _ in range(LINES_PER_CONVERSATION)]
        for line in lines:
            conversation.go_on(line)
        conversation.end()

        outputs = conversation.outputs
        broken = [
            *shapes.misfits(outputs),
            *shapes.imbalances(outputs),
            *shapes.ends_per_prompt(outputs, conversation.prompts),
            *shapes.answers_per_steer(outputs, conversation.steers),
        ]
        assert not broken, f"{broken[:5]} from {json.dumps(lines)}"
