"""What a rescuer tells of a lost worker's sessions, and what a sweep finds: on both databases, without processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from shared.domain.event import Draft, EventType
from shared.domain.ids import Incarnation
from shared.domain.input import InputKind
from shared.domain.session import SessionStatus
from shared.store import ownership, usage, workers
from tests.fixtures.seeds import SPEC
from tests.fixtures.ward import CONTINUE, Ward


def test_a_running_turn_ends_interrupted_and_its_asks_are_lost_before_it(ward: Ward) -> None:
    session, turn = ward.running()
    unanswered = ward.ask(session, turn, is_answered=False)
    answered = ward.ask(session, turn, is_answered=True)

    assert ward.rescuer().rescue(ward.lost) == 1

    kinds = [kind for kind, _ in ward.log(session)]
    assert kinds == ["ask_resolved", "ask_resolved", "turn_ended", "session_parked"]
    resolved = [data for kind, data in ward.log(session) if kind == "ask_resolved"]
    assert resolved == [
        {"ask_id": unanswered, "kind": "permission", "status": "lost", "reason": "worker_lost"},
        {"ask_id": answered, "kind": "permission", "status": "lost", "reason": "answer_lost"},
    ]
    assert ward.turn(turn) == ("interrupted", "worker_lost", 1)
    head = ward.head(session)
    assert (head.owner, head.status, head.wanted_at, head.epoch) == (None, "parked", None, 2)
    assert (ward.killed, ward.published) == ([session], kinds)
    assert not ward.beat(ward.lost)


def test_what_a_lost_turn_had_said_to_have_used_is_counted_and_told(ward: Ward) -> None:
    session, turn = ward.running()
    ward.say(
        session, Draft(EventType.USAGE, {"input_tokens": 40, "cost_usd": 0.25, "cost_source": "price_table"}, turn)
    )

    ward.rescuer().rescue(ward.lost)

    ended = next(data for kind, data in ward.log(session) if kind == "turn_ended")
    assert (ended["usage"]["input_tokens"], ended["cost_usd"], ended["cost_source"]) == (40, 0.25, "price_table")
    with ward.database.read() as connection:
        total = usage.of_session(connection, session)
    assert (total.turns, total.usage.input_tokens, total.table_micro_usd) == (1, 40, 250_000)


def test_a_turn_that_shall_continue_goes_back_into_the_line(ward: Ward) -> None:
    session, turn = ward.running(spec=CONTINUE)

    ward.rescuer().rescue(ward.lost)

    assert ward.turn(turn) == ("queued", None, 2)
    assert [kind for kind, _ in ward.log(session)] == ["notice", "session_parked"]
    assert ward.head(session).wanted_at is not None


def test_a_turn_that_was_lost_three_times_fails_as_poison(ward: Ward) -> None:
    session, turn = ward.running(spec=CONTINUE, attempts=3)

    ward.rescuer().rescue(ward.lost)

    assert ward.turn(turn) == ("failed", "poison", 3)
    assert ward.head(session).wanted_at is None


@pytest.mark.parametrize("spec", [SPEC, CONTINUE], ids=["interrupt", "continue"])
def test_a_turn_whose_cancel_was_accepted_ends_cancelled(ward: Ward, spec: Any) -> None:
    session, turn = ward.running(spec=spec)
    ward.wish(session, InputKind.CANCEL, turn)

    ward.rescuer().rescue(ward.lost)

    assert ward.turn(turn)[:2] == ("cancelled", "cancelled")


def test_a_session_whose_agent_was_never_up_goes_on_starting(ward: Ward) -> None:
    session = ward.session(status=SessionStatus.STARTING)

    ward.rescuer().rescue(ward.lost)

    head = ward.head(session)
    assert (head.status, head.owner, head.wanted_at is not None) == ("starting", None, True)
    assert ward.log(session) == []


def test_an_idle_session_is_parked_and_wanted_only_where_an_input_came(ward: Ward) -> None:
    quiet, asked = ward.session(), ward.session()
    ward.wish(asked, InputKind.MODE)

    assert ward.rescuer().rescue(ward.lost) == 2

    assert (ward.head(quiet).status, ward.head(quiet).wanted_at) == ("parked", None)
    assert ward.head(asked).wanted_at is not None


def test_sessions_on_a_volume_nobody_else_has_are_stranded(ward: Ward) -> None:
    session, turn = ward.running()
    with ward.database.write() as connection:
        workers.remove(connection, ward.me)

    ward.rescuer().rescue(ward.lost)

    assert ward.head(session).status == "stranded"
    assert [kind for kind, _ in ward.log(session)] == ["turn_ended", "session_stranded"]
    assert ward.turn(turn)[0] == "interrupted"


# --- who rescues whom ------------------------------------------------------------------------------------------


def test_a_worker_that_beat_in_the_last_moment_keeps_its_sessions(ward: Ward) -> None:
    session, turn = ward.running()
    with ward.database.read() as connection:
        row = workers.get(connection, ward.lost)
    assert row is not None
    assert ward.beat(ward.lost)

    assert ward.rescuer().rescue(ward.lost, beat=row.beat) == 0

    assert ward.head(session).owner == ward.lost
    assert ward.turn(turn)[0] == "running"
    assert ward.killed == []


def test_several_rescuers_at_once_tell_each_session_once(ward: Ward) -> None:
    running = [ward.running() for _ in range(12)]
    others = [ward.seeds.worker(f"w{number}") for number in range(3)]
    ready = threading.Barrier(4)

    def rescue(me: Incarnation) -> int:
        rescuer = ward.rescuer(me)
        ready.wait(10)
        return rescuer.rescue(ward.lost)

    with ThreadPoolExecutor(4) as threads:
        rescued = list(threads.map(rescue, [ward.me, *others]))

    assert sum(rescued) == len(running)
    for session, _ in running:
        assert [kind for kind, _ in ward.log(session)] == ["turn_ended", "session_parked"]


def test_a_rescuer_that_comes_late_kills_nothing_of_the_new_owner(ward: Ward) -> None:
    """A session's new agent bears the same mark, and may be up on this very machine."""
    session, _ = ward.running(spec=CONTINUE)
    ward.rescuer().rescue(ward.lost)
    with ward.database.write() as connection:
        assert ownership.claim(connection, ward.me, "vol", session=session)
    ward.killed.clear()

    assert ward.rescuer().rescue(ward.lost) == 0
    assert ward.rescuer().finish() == 0

    assert ward.killed == []
    assert ward.head(session).owner == ward.me


def test_what_another_rescuer_is_at_is_left_to_it_for_a_while(ward: Ward) -> None:
    session, _ = ward.running()
    with ward.database.write() as connection:
        workers.set_state(connection, ward.lost, "lost")
    patient = ward.rescuer(patience_s=3600.0)

    assert (patient.rescue(ward.lost), patient.finish(), patient.finish()) == (0, 0, 0)

    assert ward.head(session).owner == ward.lost
    assert ward.killed == []


def test_what_a_rescuer_left_half_done_is_finished_by_another(ward: Ward) -> None:
    sessions = [ward.running()[0] for _ in range(3)]
    with ward.database.write() as connection:
        workers.set_state(connection, ward.lost, "lost")

    assert ward.rescuer().finish() == 3
    assert ward.rescuer().finish() == 0

    assert {ward.head(session).owner for session in sessions} == {None}
    assert sorted(ward.killed) == sorted(sessions)


def test_a_session_that_cannot_be_rescued_keeps_no_other_from_it(ward: Ward) -> None:
    faulty, others = ward.running()[0], [ward.running()[0] for _ in range(4)]
    with ward.database.write() as connection:
        # No release writes such a row: reading it fails.
        connection.execute(sa.text("UPDATE sessions SET on_worker_loss = 'sideways' WHERE id = :id"), {"id": faulty})

    assert ward.rescuer().rescue(ward.lost) == 4

    assert {ward.head(session).owner for session in others} == {None}
    assert ward.head(faulty).owner == ward.lost


def test_a_new_life_of_the_same_name_takes_over_the_old_one_and_its_row(ward: Ward) -> None:
    session, turn = ward.running()
    again = ward.seeds.worker("lost")

    assert ward.rescuer(again).rescue_left_by("lost") == 1

    assert ward.turn(turn)[0] == "interrupted"
    assert ward.head(session).owner is None
    with ward.database.read() as connection:
        assert [row.name for row in workers.list_all(connection)] == ["me", "lost"]
        assert workers.get(connection, ward.lost) is None


# --- the sweep -------------------------------------------------------------------------------------------------
