"""How the end of a turn is told, given what was wished of it."""

from __future__ import annotations

import pytest

from shared.agents.driver import TurnEnd
from shared.domain.session import EndReason
from shared.domain.turn import TurnStatus
from tests.fixtures.seeds import _TURN
from workers.host.turn import Cut, RunningTurn, ending_of, ending_with_session

INTERRUPTED = TurnEnd(TurnStatus.INTERRUPTED, "interrupted", result_text="half")


def running(cut=None):
    return RunningTurn(_TURN, 0.0, None, cut=cut)


def test_an_end_nobody_wished_for_is_told_as_the_agent_tells_it():
    ending = ending_of(TurnEnd(TurnStatus.FAILED, "error", error="no\x00key"), running())

    assert (ending.status, ending.stop_reason, ending.error) == (TurnStatus.FAILED, "error", "no\\u0000key")


@pytest.mark.parametrize(
    ("cut", "status", "reason"),
    [
        (Cut.CANCELLED, "cancelled", "cancelled"),
        (Cut.LIMIT, "interrupted", "turn_limit"),
        (Cut.DRAINED, "interrupted", "worker_lost"),
        (Cut.SESSION_ENDS, "cancelled", "session_terminated"),
    ],
)
def test_a_turn_cut_short_says_why_and_keeps_what_it_had(cut, status, reason):
    ending = ending_of(INTERRUPTED, running(cut))

    assert (ending.status, ending.stop_reason, ending.result_text) == (status, reason, "half")


@pytest.mark.parametrize("cut", list(Cut))
def test_a_turn_that_was_completed_before_it_could_be_cut_stays_completed(cut):
    ending = ending_of(TurnEnd(TurnStatus.COMPLETED, "end_turn"), running(cut))

    assert (ending.status, ending.stop_reason) == (TurnStatus.COMPLETED, "end_turn")


@pytest.mark.parametrize(("reason", "status"), [(EndReason.TERMINATED, "cancelled"), (EndReason.LIFETIME, "failed")])
def test_a_turn_ends_with_its_session(reason, status):
    ending = ending_with_session(reason, None)

    assert (ending.status, ending.stop_reason) == (status, f"session_{reason}")
