"""The real Codex goes through the table of scenarios that every agent is held to."""

from __future__ import annotations

import pytest

from shared.agents.registry import find
from tests.conformance.harness import options_for
from tests.conformance.sayings import CODEX
from tests.conformance.scenarios import asked_of
from tests.conformance.walk import live_through
from tests.fixtures.agents import codex_program


@pytest.mark.parametrize("scenario", asked_of("codex", CODEX), ids=lambda scenario: scenario.name)
def test_codex_goes_through_the_scenario(scenario, codex_binary, model_server, tmp_path):
    program = codex_program(codex_binary, model_server)
    variables = [f"{name}={value}" for name, value in program.environment.items()]
    options = options_for(tmp_path.resolve(), ("env", *variables, *program.command), scenario.mode)

    live_through(find("codex"), options, scenario, CODEX)
