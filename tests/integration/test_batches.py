"""Batches on a whole fleet: never more at once than wished, each item once, whatever dies meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytest

from shared.domain import clock
from shared.domain.batch import BatchStatus
from shared.store import batches
from tests.fixtures.fleet import Client, Fleet
from tests.fixtures.waiting import eventually


def fresh(prompt: str, **wishes: Any) -> dict[str, Any]:
    return {"kind": "session", "agent": "demo", "mode": "accept_edits", "prompt": prompt, **wishes}


def ended(client: Client, batch: str, timeout_s: float = 40.0) -> Any:
    def look() -> Any:
        row = client.get(f"/batches/{batch}")
        return row if row["ended_at"] else None

    return eventually(look, timeout_s=timeout_s, about=f"{batch} ended")


def items(client: Client, batch: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.get(f"/batches/{batch}/items", limit=200, **({"cursor": cursor} if cursor else {}))
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def most_at_once(client: Client, found: list[dict[str, Any]]) -> int:
    """The most turns that were accepted and not over at one moment."""
    rows = [client.get(f"/turns/{item['turn_id']}") for item in found]
    steps = [(row["created_at"], 1) for row in rows] + [(row["ended_at"], -1) for row in rows]
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def test_fifty_new_sessions_all_succeed_and_never_more_than_five_run(fleet: Fleet) -> None:
    fleet.api()
    fleet.worker("a", CORRAL_WORKER_CAPACITY="8")
    client = fleet.client()

    batch = client.post("/batches", {"items": [fresh(f"say {n}") for n in range(50)], "concurrency": 5})
    done = ended(client, batch["id"])
    found = items(client, batch["id"])

    assert (batch["status"], batch["total"], batch["queued"]) == ("running", 50, 50)
    assert (done["status"], done["succeeded"], done["running"], done["queued"]) == ("completed", 50, 0, 0)
    assert [item["result_text"] for item in found] == [str(n) for n in range(50)]
    assert len({item["session_id"] for item in found}) == 50
    assert most_at_once(client, found) <= 5
    assert client.events(found[0]["session_id"])[0]["data"]["batch_id"] == batch["id"]


def test_one_failure_harms_no_other_item(fleet: Fleet) -> None:
    fleet.api()
    fleet.worker("a")
    client = fleet.client()
    stranger = fleet.client(tenant="ten_stranger").start()["id"]
    living, dead = client.start()["id"], client.start()["id"]
    client.post(f"/sessions/{dead}/terminate", wait_s=20)
    wishes = [
        {"kind": "prompt", "session_id": living, "text": "say one"},
        {"kind": "prompt", "session_id": "ses_none", "text": "say two"},
        {"kind": "prompt", "session_id": stranger, "text": "say three"},
        {"kind": "prompt", "session_id": dead, "text": "say four"},
        {"kind": "terminate", "session_id": dead},
        {"kind": "terminate", "session_id": "no id at all"},
        fresh("error it went wrong"),
        fresh("say five"),
        {"kind": "terminate", "session_id": living},
    ]

    batch = client.post("/batches", {"items": wishes, "concurrency": 1, "metadata": {"team": "red"}})
    done = ended(client, batch["id"])

    found = items(client, batch["id"])
    codes = [item["error"] and item["error"]["code"] for item in found]
    gone, over = "not_found", "session_ended"
    assert codes == [None, gone, gone, over, None, gone, "turn_failed", None, None]
    assert "it went wrong" in found[6]["error"]["message"]
    assert (done["status"], done["succeeded"], done["failed"], done["metadata"]) == ("completed", 4, 5, {"team": "red"})
    assert client.get(f"/sessions/{living}")["status"] == "ended"
    failed = client.get(f"/batches/{batch['id']}/items", status="failed")["data"]
    assert [item["index"] for item in failed] == [1, 2, 3, 5, 6]


def test_a_cancel_ends_what_waits_and_what_runs_and_sessions_live_on(fleet: Fleet) -> None:
    fleet.api()
    fleet.worker("a")
    client = fleet.client()
    batch = client.post("/batches", {"items": [fresh("sleep 60")] * 6, "concurrency": 2})["id"]
    eventually(
        lambda: [row["status"] for row in client.get("/sessions")["data"]].count("running") == 2,
        timeout_s=20,
        about="two turns run",
    )

    cancelled = client.post(f"/batches/{batch}/cancel")
    again = client.post(f"/batches/{batch}/cancel")
    done = ended(client, batch)

    assert (cancelled["status"], again["status"], cancelled["queued"]) == ("cancelled", "cancelled", 0)
    assert (done["status"], done["cancelled"], done["running"]) == ("cancelled", 6, 0)
    assert len(client.get("/sessions")["data"]) == 2
    session = items(client, batch)[0]["session_id"]
    turn = client.post(f"/sessions/{session}/prompts", {"text": "say still here"})["id"]
    assert client.turn(turn)["result_text"] == "still here"


def test_a_worker_killed_beside_another_leaves_one_turn_for_each_item(fleet: Fleet) -> None:
    fleet.api()
    worker = fleet.worker("a")
    fleet.worker("b")
    client = fleet.client()
    wishes = [fresh(f"sleep 0.1; say {n}", on_worker_loss="continue") for n in range(20)]
    batch = client.post("/batches", {"items": wishes, "concurrency": 4})["id"]
    eventually(lambda: client.get(f"/batches/{batch}")["succeeded"] >= 4, timeout_s=30, about="some are done")

    worker.kill()
    before = client.get(f"/batches/{batch}")
    done = ended(client, batch)

    found = items(client, batch)
    assert before["status"] == "running"
    assert (done["succeeded"], done["failed"]) == (20, 0)
    assert [item["result_text"] for item in found] == [str(n) for n in range(20)]
    assert most_at_once(client, found) <= 4
    assert len(client.get("/sessions", limit=200)["data"]) == 20
    for item in found:
        assert [row["id"] for row in client.get(f"/sessions/{item['session_id']}/turns")["data"]] == [item["turn_id"]]


def test_a_batch_begins_without_its_doorbell(fleet_on_sqlite: Fleet) -> None:
    fleet = fleet_on_sqlite
    fleet.api(CORRAL_REDIS_URL="redis://127.0.0.1:1/0")
    fleet.worker("a")
    client = fleet.client()

    batch = client.post("/batches", {"items": [fresh("say hello")]})["id"]

    assert ended(client, batch)["succeeded"] == 1


def test_a_thousand_items_are_accepted_at_once(api, record_property) -> None:
    wishes = [fresh(f"say {n}", env={"TOKEN": "secret-word"}) for n in range(1000)]

    began = time.monotonic()
    answer = api.http.post("/v1/batches", json={"items": wishes, "concurrency": 100})
    took_s = time.monotonic() - began
    record_property("took_s", took_s)

    assert answer.status_code == 201
    assert answer.json()["queued"] == 1000
    # Far above the second it takes, for machines that do ten other things; far below a thousand requests.
    assert took_s < 10.0
    with api.edge.context.db.read() as connection:
        item = batches.next_queued(connection, answer.json()["id"])
    assert item is not None
    assert "secret-word" not in item.wish
    assert api.http.get("/v1/sessions").json()["data"] == []


GOOD = fresh("hi")
PROMPT = {"kind": "prompt", "session_id": "ses_x", "text": "hi"}


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({**PROMPT, "text": ""}, "items[1].text"),
        ({**PROMPT, "colour": "red"}, "items[1].colour"),
        ({**PROMPT, "callback_url": "http://10.0.0.1/"}, "items[1].callback_url"),
        ({"kind": "terminate"}, "items[1].session_id"),
        ({"kind": "dance"}, "items[1].kind"),
        ({"kind": ["prompt"]}, "items[1].kind"),
        ({}, "items[1].kind"),
        ("terminate", "items[1]"),
        ({**GOOD, "prompt": None}, "items[1].prompt"),
        ({**GOOD, "agent": "nobody"}, "items[1].agent"),
        ({**GOOD, "mode": "bypass"}, "items[1].mode"),
        ({**GOOD, "workspace": {"kind": "moon"}}, "items[1].workspace.kind"),
        ({**GOOD, "workspace": {"kind": "folder", "path": "../x"}}, "items[1].workspace.path"),
        ({**GOOD, "allowed_domains": ["127.0.0.1"]}, "items[1].allowed_domains[0]"),
        ({**GOOD, "limits": {"idle_s": -1}}, "items[1].limits.idle_s"),
        ({**GOOD, "webhook": {"url": "http://127.0.0.1/"}}, "items[1].webhook.secret"),
        ({**GOOD, "webhook": {"url": "http://10.0.0.1/", "secret": "whsec_" + "MDEy" * 8}}, "items[1].webhook.url"),
    ],
)
def test_a_bad_item_is_named_and_nothing_is_made(sqlite_api, bad, field) -> None:
    answer = sqlite_api.http.post("/v1/batches", json={"items": [GOOD, bad]})

    assert answer.status_code == 422
    assert {one["field"] for one in answer.json()["errors"]} == {field}
    assert sqlite_api.http.get("/v1/batches").json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": []},
        {"items": [PROMPT] * 1001},
        {"items": {"0": PROMPT}},
        {"items": [PROMPT], "concurrency": 0},
        {"items": [PROMPT], "concurrency": 101},
        {"items": [PROMPT], "concurrency": True},
    ],
)
def test_a_batch_of_no_or_too_many_items_is_refused(sqlite_api, body) -> None:
    assert sqlite_api.http.post("/v1/batches", json=body).status_code == 422


def test_the_same_key_makes_one_batch(sqlite_api) -> None:
    first, second = (
        sqlite_api.http.post("/v1/batches", json={"items": [PROMPT]}, headers={"Idempotency-Key": "k"}) for _ in "12"
    )

    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(sqlite_api.http.get("/v1/batches").json()["data"]) == 1


def test_a_batch_nobody_began_is_cancelled_at_once_and_a_completed_one_not_at_all(api) -> None:
    made = api.http.post("/v1/batches", json={"items": [PROMPT] * 3}).json()

    cancelled = api.http.post(f"/v1/batches/{made['id']}/cancel").json()

    assert (cancelled["status"], cancelled["cancelled"]) == ("cancelled", 3)
    assert cancelled["ended_at"]
    with api.edge.context.db.write() as connection:
        batches.end(connection, made["id"], BatchStatus.COMPLETED, clock.now())
    refused = api.http.post(f"/v1/batches/{made['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "batch_over")


def test_items_are_paged_and_a_foreign_cursor_is_refused(sqlite_api) -> None:
    made = sqlite_api.http.post("/v1/batches", json={"items": [PROMPT] * 5}).json()
    path = f"/v1/batches/{made['id']}/items"

    first = sqlite_api.http.get(path, params={"limit": 3}).json()
    rest = sqlite_api.http.get(path, params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [item["index"] for item in first["data"] + rest["data"]] == [0, 1, 2, 3, 4]
    assert rest["next_cursor"] is None
    assert sqlite_api.http.get(path, params={"cursor": "x"}).status_code == 422
