"""Kill -9 of a worker at every moment of a prompt's way: one end each, no ask left hanging, and the next prompt works.

The worker is stopped first, so that what is sent to it in this moment is accepted and never seen.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fleet import Client, Fleet
from tests.fixtures.waiting import eventually
from tests.fixtures.witness import counts, kinds, whole_log

SLACK = {"CORRAL_LAPSE_S": "3", "CORRAL_FREEZE_S": "2.5"}
"""Enough time between the stop and the takeover for everything that is to be accepted in between."""


def opened(client: Client, made: dict[str, Any]) -> str:
    """The id of the ask a session waits with."""
    event = client.event(made["id"], lambda event: event["type"] == "permission_request")
    return str(event["data"]["ask_id"])


def asking(client: Client) -> dict[str, Any]:
    made: dict[str, Any] = client.start("permission Bash ls; say allowed", mode="interactive")
    opened(client, made)
    return made


def at_checkpoint(client: Client) -> dict[str, Any]:
    made: dict[str, Any] = client.start("Confirm: say let go")
    opened(client, made)
    return made


def counting(fleet: Fleet, client: Client, **wishes: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.start("count counter.txt 50", **wishes)
    counts(fleet, made["id"])
    return made


def end_of(client: Client, made: dict[str, Any]) -> tuple[str, str]:
    row = client.turn(made["turn"]["id"])
    return row["status"], row["stop_reason"]


def resolutions(client: Client, made: dict[str, Any]) -> list[tuple[str, str | None]]:
    log = whole_log(client, made["id"])
    return [(one["data"]["status"], one["data"].get("reason")) for one in log if one["type"] == "ask_resolved"]


def next_prompt_works(client: Client, made: dict[str, Any]) -> None:
    turn = client.post(f"/sessions/{made['id']}/prompts", {"text": "say next"})["id"]
    assert client.turn(turn)["result_text"] == "next"


def test_whatever_was_accepted_and_not_seen_is_told_and_done(fleet: Fleet) -> None:
    client = fleet.up("a", CORRAL_WORKER_CAPACITY="20", **SLACK)
    worker = fleet["a"]
    idle, unseen = client.start("say first"), client.start("say first")
    unanswered, answered = asking(client), asking(client)
    held, let_go = at_checkpoint(client), at_checkpoint(client)
    cancelled = counting(fleet, client)
    not_repeated = counting(fleet, client, on_worker_loss="continue")
    terminated = counting(fleet, client)
    for made in (idle, unseen):
        client.session(made["id"], "idle")
    fleet.worker("b", CORRAL_WORKER_CAPACITY="20", **SLACK)

    worker.signal(signal.SIGSTOP)
    late = client.post(f"/sessions/{unseen['id']}/prompts", {"text": "say late"})["id"]
    client.post(f"/asks/{opened(client, answered)}/answer", {"decision": "allow"})
    client.post(f"/asks/{opened(client, let_go)}/answer", {"decision": "allow"})
    client.post(f"/sessions/{cancelled['id']}/cancel", {})
    client.post(f"/sessions/{not_repeated['id']}/cancel", {})
    client.post(f"/sessions/{terminated['id']}/terminate", {})
    worker.kill()

    assert client.turn(late)["result_text"] == "late"
    assert end_of(client, unanswered) == ("interrupted", "worker_lost")
    assert resolutions(client, unanswered) == [("lost", "worker_lost")]
    assert end_of(client, answered) == ("interrupted", "worker_lost")
    assert resolutions(client, answered) == [("answered", None), ("lost", "answer_lost")]
    assert client.get(f"/asks/{opened(client, answered)}")["status"] == "lost"
    # No agent has a part in a turn that is held: it is let go by the answer, given before the loss or after it.
    assert client.turn(let_go["turn"]["id"])["result_text"] == "let go"
    assert resolutions(client, let_go) == [("answered", None), ("applied", None)]
    assert resolutions(client, held) == []
    client.post(f"/asks/{opened(client, held)}/answer", {"decision": "deny"})
    assert end_of(client, held) == ("cancelled", "denied")
    assert end_of(client, cancelled) == ("cancelled", "cancelled")
    # Cancelled is cancelled, although it would run again on another worker.
    assert end_of(client, not_repeated) == ("cancelled", "cancelled")
    assert client.session(terminated["id"], "ended")["end_reason"] == "terminated"
    assert len(kinds(whole_log(client, terminated["id"]), "turn_ended", "session_ended")) == 2
    for made in (idle, unseen, unanswered, answered, cancelled, not_repeated, held, let_go):
        next_prompt_works(client, made)
        whole_log(client, made["id"])
        assert client.get(f"/sessions/{made['id']}")["worker"] == "b"
    assert not client.get("/asks", status="open")["data"]


@pytest.mark.parametrize("at", ["claimed", "spawned"])
def test_a_session_that_was_being_started_is_started_elsewhere(fleet_on_sqlite: Fleet, at: str) -> None:
    fleet = fleet_on_sqlite
    slow = fleet.folder / "slow-demo"
    here = fleet.folder / "spawned"
    here.mkdir()
    # On the worker that is to be lost the agent takes its time to come up.
    slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\ntouch "{here}/$$"\nsleep 20\n')
    slow.chmod(0o700)
    # It tells of itself outside of its place.
    client = fleet.up("a", CORRAL_DEMO_COMMAND=str(slow), CORRAL_SANDBOX="off")
    worker = fleet["a"]
    prompted, bare = client.start("say up"), client.start()

    for made in (prompted, bare):
        eventually(lambda made=made: client.get(f"/sessions/{made['id']}")["worker"] == "a", about="claimed")
    if at == "spawned":
        eventually(lambda: len(list(here.iterdir())) >= 2, timeout_s=20, about="both spawned")
    worker.kill()
    fleet.worker("b", CORRAL_DEMO_COMMAND=f"{sys.executable} -P -m cli.demo_agent")

    assert client.turn(prompted["turn"]["id"])["result_text"] == "up"
    assert kinds(whole_log(client, prompted["id"]), "turn_started", "turn_ended") == ["turn_started", "turn_ended"]
    client.session(bare["id"], "idle")
    assert kinds(whole_log(client, bare["id"])) == ["session_started", "session_idle"]
    for made in (prompted, bare):
        next_prompt_works(client, made)
    assert not Path(f"/proc/{worker.popen.pid}").exists()
