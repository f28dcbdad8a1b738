"""A worker is killed or stopped in the middle of a turn, with a second worker beside it.

The agent is a hostile one: it ignores end of file and TERM, and writes a counter every 50 ms.
"""

from __future__ import annotations

import signal
import time

import pytest

from tests.fixtures.fleet import Client, Fleet, Process
from tests.fixtures.witness import STUBBORN, counter, counts, hosting, kinds, stands_still, whole_log

AT_MOST_S = 10.0
"""From the loss to the terminal event. The clockwork runs at a tenth, so most of this is for a busy machine;
`bench` measures the real thing."""


def lose(client: Client, fleet: Fleet, number: int) -> tuple[str, str, Process, float]:
    """A session that remembers a first turn and is lost in its second: session, turn, worker, time of the loss."""
    made = client.start("say the magic word is heliotrope")
    session = made["id"]
    client.turn(made["turn"]["id"])
    turn = client.post(f"/sessions/{session}/prompts", {"text": STUBBORN})["id"]
    counts(fleet, session)
    worker = hosting(fleet, client, session)
    worker.signal(number)
    return session, turn, worker, time.monotonic()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_lost_workers_turn_ends_once_and_the_session_goes_on_elsewhere(fleet: Fleet, number: int) -> None:
    client = fleet.up("a", "b")

    session, turn, worker, lost_at = lose(client, fleet, number)
    ended = client.turn(turn, timeout_s=20)
    took_s = time.monotonic() - lost_at

    assert ended["status"] == "interrupted"
    assert ended["stop_reason"] == "worker_lost"
    assert took_s < AT_MOST_S
    assert stands_still(lambda: counter(fleet, session))
    stopped_at = counter(fleet, session)

    again = client.post(f"/sessions/{session}/prompts", {"text": "recall"})["id"]
    answer = client.turn(again, timeout_s=20)

    assert answer["status"] == "completed"
    assert "heliotrope" in answer["result_text"]
    assert client.get(f"/sessions/{session}")["worker"] != worker.name
    if number == signal.SIGSTOP:
        worker.signal(signal.SIGCONT)
        # It finds that it was judged lost, lets go and ends, so that its supervisor starts it anew.
        assert worker.popen.wait(20) != 0
    assert counter(fleet, session) == stopped_at
    assert len(kinds(whole_log(client, session), "turn_ended")) == 3


def test_a_turn_runs_again_where_the_session_says_so_and_fails_when_it_keeps_being_lost(fleet: Fleet) -> None:
    client = fleet.up("w0")
    made = client.start(STUBBORN, on_worker_loss="continue")
    session, turn = made["id"], made["turn"]["id"]

    for attempt in range(1, 4):
        client.event(
            session,
            lambda event, attempt=attempt: event["type"] == "turn_started" and event["data"]["attempt"] == attempt,
        )
        fleet.worker(f"w{attempt}")
        hosting(fleet, client, session).kill()
    ended = client.turn(turn, timeout_s=20)

    assert ended["status"] == "failed"
    assert ended["stop_reason"] == "poison"
    assert len(kinds(whole_log(client, session), "turn_ended")) == 1


def test_a_worker_that_comes_back_under_its_name_takes_over_at_once(fleet: Fleet) -> None:
    client = fleet.up("only", CORRAL_LAPSE_S="60", CORRAL_FREEZE_S="50")
    made = client.start(STUBBORN)
    session, turn = made["id"], made["turn"]["id"]
    counts(fleet, session)

    fleet["only"].kill()
    fleet.worker("only", CORRAL_LAPSE_S="60", CORRAL_FREEZE_S="50")

    # Long before the lapse.
    assert client.turn(turn, timeout_s=20)["status"] == "interrupted"
    assert stands_still(lambda: counter(fleet, session))


def test_a_session_whose_volume_has_no_worker_is_told_to_be_stranded_and_goes_on_later(fleet: Fleet) -> None:
    fleet.api()
    disk = fleet.folder / "other-disk"
    disk.mkdir()
    far = fleet.worker("far", CORRAL_WORKSPACE_ROOT=str(disk))
    client = fleet.client()
    made = client.start("say remember the tamarind")
    session = made["id"]
    client.turn(made["turn"]["id"])
    fleet.worker("near")

    far.kill()
    client.session(session, "stranded", timeout_s=20)
    turn = client.post(f"/sessions/{session}/prompts", {"text": "recall"})["id"]
    fleet.worker("far", CORRAL_WORKSPACE_ROOT=str(disk))

    assert "tamarind" in client.turn(turn, timeout_s=20)["result_text"]


def test_a_drained_worker_hands_over_and_leaves_no_process(fleet: Fleet) -> None:
    client = fleet.up("a")
    idle = client.start("say hello")
    client.turn(idle["turn"]["id"])
    busy = client.start(STUBBORN)
    counts(fleet, busy["id"])
    queued = client.post(f"/sessions/{busy['id']}/prompts", {"text": "say after"})["id"]
    fleet.worker("b")

    assert fleet["a"].end() == 0

    assert client.turn(busy["turn"]["id"], timeout_s=20)["status"] == "interrupted"
    assert client.turn(queued, timeout_s=20)["status"] == "completed"
    assert stands_still(lambda: counter(fleet, busy["id"]))
    again = client.post(f"/sessions/{idle['id']}/prompts", {"text": "recall"})["id"]
    assert "hello" in client.turn(again, timeout_s=20)["result_text"]
