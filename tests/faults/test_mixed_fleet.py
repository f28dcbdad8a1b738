"""Workers that do not all have the same agents: no session is lost to one that cannot start it."""

from __future__ import annotations

import pytest

from tests.fixtures.fleet import CALM, Fleet
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.timeout(120)


def test_sessions_go_to_the_worker_that_has_their_agent(fleet_on_sqlite: Fleet) -> None:
    fleet = fleet_on_sqlite
    client = fleet.up("able", **CALM)
    fleet.worker("lame", CORRAL_DEMO_COMMAND="/nowhere/agent", **CALM)

    def both_have_told() -> bool:
        told = {row["name"]: row["agents"].get("demo", {}).get("ready") for row in client.get("/workers")["data"]}
        return told == {"able": True, "lame": False}

    eventually(both_have_told, timeout_s=30, about="what each worker has")
    made = [client.start(f"say {number}") for number in range(8)]
    turns = [client.turn(one["turn"]["id"]) for one in made]
    rows = [client.get(f"/sessions/{one['id']}") for one in made]

    assert [turn["result_text"] for turn in turns] == [str(number) for number in range(8)]
    assert {row["end_reason"] for row in rows} == {None}
    assert "start_failed" not in fleet["lame"].end_of_log()
