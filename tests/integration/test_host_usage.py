"""What turns of a hosted agent use: told, priced, and counted also when the agent or its worker is lost."""

from __future__ import annotations

import pytest

from shared.domain.prices import parse
from shared.domain.session import Limits
from shared.domain.usage import Usage
from shared.store import usage
from tests.fixtures.hosts import Stage, play

pytestmark = pytest.mark.timeout(60)

PRICES = parse('{"demo-1": {"input": 1000, "output": 2000}, "dear*": {"input": 5000, "output": 5000}}')


def totals(stage: Stage, session):
    with stage.database.read() as connection:
        return usage.of_session(connection, session)


def test_a_turn_counts_what_the_agent_tells_and_says_that_it_was_the_agent(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="usage 10 20 0.1")
        for _ in range(2):
            stage.prompt(session, "usage 10 20 0.1")
        await stage.event(session, "turn_ended", 3)
        return stage.told(session, "usage"), stage.told(session, "turn_ended"), totals(stage, session)

    told, ended, total = play(database_url, tmp_path, story)

    assert [data["cost_source"] for data in told + ended] == ["agent"] * 6
    assert (total.turns, total.usage, total.agent_micro_usd) == (3, Usage(30, 60), 300_000)
    assert (total.table_micro_usd, total.unpriced_turns, total.waited_ms) == (None, 0, 0)
    assert total.turn_ms > 0


def test_tokens_without_a_cost_are_priced_by_the_model_in_use(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="tokens 100 50")
        await stage.event(session, "turn_ended")
        other = stage.session(prompt="tokens 100 50", model="dear-2")
        unknown = stage.session(prompt="tokens 100 50", model="who-knows")
        await stage.event(other, "turn_ended")
        await stage.event(unknown, "turn_ended")
        logs = [stage.told(one, "usage")[0] for one in (session, other, unknown)]
        with stage.database.read() as connection:
            groups, _ = usage.page(connection, stage.seeds.tenant, usage.Grouping.MODEL, usage.UsageFilter())
        return logs, stage.told(session, "turn_ended")[0], {group.name: group.totals for group in groups}

    told, ended, models = play(database_url, tmp_path, story, prices=PRICES)

    assert [(data.get("cost_usd"), data.get("cost_source")) for data in told] == [
        (0.2, "price_table"),
        (0.75, "price_table"),
        (None, None),
    ]
    assert (ended["cost_usd"], ended["cost_source"]) == (0.2, "price_table")
    assert {name: total.table_micro_usd for name, total in models.items()} == {
        "demo-1": 200_000,
        "dear-2": 750_000,
        "who-knows": None,
    }
    assert models["who-knows"].unpriced_turns == 1


@pytest.mark.parametrize("how", ["crash KILL", "error oops"])
def test_a_turn_that_fails_counts_what_it_used(sqlite_url, tmp_path, how):
    async def story(stage: Stage):
        session = stage.session(prompt=f"tokens 100 50; {how}")
        ended = await stage.event(session, "turn_ended")
        return ended, totals(stage, session)

    ended, total = play(sqlite_url, tmp_path, story, prices=PRICES)

    assert (ended["status"], ended["cost_usd"]) == ("failed", 0.2)
    assert ended["usage"]["input_tokens"] == 100
    assert (total.turns, total.usage, total.micro_usd) == (1, Usage(100, 50), 200_000)


def test_time_that_a_human_takes_is_waiting_and_not_work(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="ask Which? | a | b")
        opened = await stage.event(session, "question")
        stage.answer(opened["ask_id"], {"answers": {"Which?": "a"}})
        await stage.event(session, "turn_ended")
        return totals(stage, session)

    total = play(sqlite_url, tmp_path, story)

    assert total.waited_ms > 0


@pytest.mark.parametrize(
    ("limits", "prompt", "reason"),
    [
        (Limits(max_cost_usd=0.3), "usage 1 1 0.1", "max_cost_reached"),
        (Limits(max_tokens=300), "tokens 60 40", "max_tokens_reached"),
    ],
)
def test_a_session_ends_with_the_turn_that_reaches_its_limit_to_the_millionth(
    sqlite_url, tmp_path, limits, prompt, reason
):
    async def story(stage: Stage):
        session = stage.session(prompt=prompt, limits=limits)
        for _ in range(4):
            stage.prompt(session, prompt)
        await stage.status(session, "ended")
        return stage.told(session, "turn_ended"), stage.head(session).end_reason

    ended, why = play(sqlite_url, tmp_path, story)

    assert [turn["status"] for turn in ended] == ["completed"] * 3 + ["failed"] * 2
    assert why == reason
