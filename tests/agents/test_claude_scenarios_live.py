"""The real Claude Code goes through the table of scenarios that every agent is held to."""

from __future__ import annotations

import pytest

from shared.agents.registry import find
from tests.conformance.harness import options_for
from tests.conformance.sayings import SCRIPTED
from tests.conformance.scenarios import SCENARIOS, can_say
from tests.conformance.walk import live_through
from tests.fixtures.agents import claude_environment

LEFT_OUT = {
    # Claude Code's plan is itself a tool call, which the scenario forbids; test_claude_live rejects one.
    "plan rejected",
}
ASKED = [
    scenario
    for scenario in SCENARIOS
    if scenario.name not in LEFT_OUT and all(can_say("claude", turn, SCRIPTED) for turn in scenario.turns)
]


@pytest.mark.parametrize("scenario", ASKED, ids=lambda scenario: scenario.name)
def test_claude_goes_through_the_scenario(scenario, claude_binary, model_server, tmp_path):
    variables = [f"{name}={value}" for name, value in claude_environment(model_server).items()]
    tools = ("--tools", "Bash,AskUserQuestion,ExitPlanMode,TaskCreate,TaskUpdate")
    options = options_for(tmp_path.resolve(), ("env", *variables, str(claude_binary), *tools), scenario.mode)

    live_through(find("claude"), options, scenario, SCRIPTED)
