"""The real OpenCode: through scenarios that every agent is held to, and end to end in a fleet.

Each start takes seconds and half a gigabyte, so the scenarios are those that say most; recordings hold the rest.
"""

from __future__ import annotations

import shutil

import pytest

from shared.agents.registry import find
from tests.conformance.harness import options_for
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.walk import live_through
from tests.fakes.model_server import serve
from tests.fixtures.agents import Program
from tests.fixtures.live_session import live_fleet
from tests.fixtures.opencode import opencode_environment
from tests.fixtures.valkey import valkey_running

pytestmark = pytest.mark.timeout(600)

START_S = 180.0
"""It has taken 28 s on two cores under load 13."""

PROMPTS = {
    "plain": "[[say:hello conformance]]",
    "tool": "[[bash:echo from-a-tool]][[say:the tool is done]]",
    "failing tool": "[[bash:exit 7]]",
    "long tool": "[[bash:sleep 60]]",
    "remember": "[[remember:quince]] I will",
    "recall": "[[recall]]",
}
NAMES = (
    "a tool that fails",
    "permission denied with stop",
    "permission allowed for good",
    "interrupted in a tool",
    "resumed in a new process",
    "killed while it asks",
)
ASKED = [scenario for scenario in SCENARIOS if scenario.name in NAMES]


@pytest.mark.parametrize("scenario", ASKED, ids=lambda scenario: scenario.name)
def test_opencode_goes_through_the_scenario(scenario, opencode_binary, model_server, tmp_path):
    variables = [f"{name}={value}" for name, value in opencode_environment(model_server).items()]
    options = options_for(tmp_path.resolve(), ("env", *variables, str(opencode_binary)), scenario.mode)

    live_through(find("opencode"), options, scenario, PROMPTS, deadline_s=START_S)


@pytest.fixture
def house(tmp_path, sqlite_template, opencode_binary):
    """API and worker on SQLite, with OpenCode and its scripted model."""
    shutil.copyfile(sqlite_template, tmp_path / "corral.db")
    calm = {"CORRAL_BEAT_S": "0.5", "CORRAL_FREEZE_S": "6", "CORRAL_LAPSE_S": "8", "CORRAL_STOP_S": "5"}
    settings = {**calm, "CORRAL_AGENT_START_S": str(START_S)}
    url = f"sqlite:///{tmp_path / 'corral.db'}"
    with valkey_running(tmp_path) as valkey, serve() as model:
        program = Program("opencode", [str(opencode_binary)], opencode_environment(model))
        with live_fleet(tmp_path, url, valkey.url, program, model, **settings) as house:
            house.fleet.api()
            house.fleet.worker()
            yield house


def test_a_session_with_opencode_works_asks_and_goes_on_after_its_agent_was_killed(house):
    # given
    session = house.start("[[remember:quince]] I will")
    first = session.over(timeout_s=START_S)

    # when
    asking = session.prompt("[[bash:touch f.txt]]")
    ask = session.ask()
    session.answer(ask, decision="allow")
    session.over(asking, timeout_s=60)
    session.kill_agent()
    recalled = session.over(session.prompt("[[recall]]"), timeout_s=START_S)

    # then
    assert (first["status"], first["usage"]["input_tokens"]) == ("completed", 2000)
    assert first["cost_usd"] > 0
    assert (ask["kind"], ask["data"]["input"]) == ("permission", {"command": "touch f.txt"})
    assert (session.workspace / "f.txt").exists()
    assert "the word is quince" in recalled["result_text"]
    assert [data["resumed"] for data in session.told("session_started")] == [False, True]
    house.end_all()
    assert house.model.record.violations == []
