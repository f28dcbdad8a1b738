"""The sweep, on both databases: what lost hints would have told, and whom it judges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from shared.domain import clock
from shared.domain.ids import SessionId
from shared.domain.input import InputKind
from shared.domain.lapse import LapseObserver
from shared.domain.session import SessionStatus
from shared.operations.endings import Front
from shared.store import heads, ownership, workers
from tests.fixtures.ward import Ward
from workers.maintenance.sweep import Orders, Sweeper


@dataclass
class Recorder:
    """A host that keeps what the sweep asks of it."""

    has_room: bool = True
    hosted: dict[SessionId, int] = field(default_factory=dict)
    looks: list[SessionId] = field(default_factory=list)
    offers: int = 0
    let_go: list[dict[SessionId, int]] = field(default_factory=list)
    batches: int = 0

    def offer(self) -> None:
        self.offers += 1

    def count_batches(self) -> None:
        self.batches += 1

    def orders(self) -> Orders:
        return Orders(
            look=self.looks.append,
            offer=self.offer,
            has_room=lambda: self.has_room,
            hosted=lambda: self.hosted,
            let_go=lambda gone: self.let_go.append(dict(gone)),
            batches=self.count_batches,
        )


def sweeper(ward: Ward, host: Recorder, *, lapse_s: float = 3600.0) -> Sweeper:
    return Sweeper(
        database=ward.database,
        me=ward.me,
        volume_id="vol",
        orders=host.orders(),
        rescuer=ward.rescuer(),
        front=Front(ward.database, lambda _: None),
        observer=LapseObserver(lapse_s=lapse_s, gap_s=3600.0),
    )


def claimed_by_me(ward: Ward) -> tuple[SessionId, int]:
    session = ward.seeds.session()
    with ward.database.write() as connection:
        head = ownership.claim(connection, ward.me, "vol", session=session)
        assert head is not None
        heads.set_done_input(connection, session, head.last_input)
        heads.set_status(connection, session, SessionStatus.IDLE)
    return session, head.epoch


def test_a_sweep_finds_the_inputs_nobody_rang_for(ward: Ward) -> None:
    host = Recorder()
    quiet, _ = claimed_by_me(ward)
    asked, _ = claimed_by_me(ward)
    host.hosted = {quiet: 1, asked: 1}
    ward.wish(asked, InputKind.MODE)

    sweeper(ward, host).sweep()

    assert host.looks == [asked]
    assert (host.offers, host.let_go) == (0, [])


@pytest.mark.parametrize("has_room", [True, False])
def test_a_sweep_offers_what_waits_where_there_is_room(ward: Ward, has_room: bool) -> None:
    host = Recorder(has_room=has_room)
    ward.seeds.session()

    sweeper(ward, host).sweep()

    assert host.offers == int(has_room)


def test_a_sweep_lets_go_of_what_it_saw_twice_to_be_somebody_elses(ward: Ward) -> None:
    ours, epoch = claimed_by_me(ward)
    theirs = ward.session()
    host = Recorder(hosted={ours: epoch, theirs: 1})
    swept = sweeper(ward, host)

    swept.sweep()
    assert host.let_go == []
    swept.sweep()

    assert host.let_go == [{theirs: 1}]


def test_a_session_claimed_anew_between_two_sweeps_is_kept(ward: Ward) -> None:
    session, epoch = claimed_by_me(ward)
    host = Recorder(hosted={session: epoch - 1})
    swept = sweeper(ward, host)
    swept.sweep()

    host.hosted = {session: epoch}
    swept.sweep()
    swept.sweep()

    assert host.let_go == []


def test_a_sweep_ends_what_no_worker_took_in_time_and_what_outlived_its_lifetime(ward: Ward) -> None:
    past = clock.now() - timedelta(seconds=1)
    unplaced, expired = ward.seeds.session(is_wanted=False), ward.seeds.session(is_wanted=False)
    turn = ward.seeds.turn(unplaced)
    with ward.database.write() as connection:
        connection.execute(heads.heads.update().where(heads.heads.c.session_id == unplaced).values(start_by=past))
        heads.set_end_by(connection, expired, past)

    sweeper(ward, Recorder()).sweep()

    assert [kind for kind, _ in ward.log(unplaced)] == ["turn_ended", "session_ended"]
    assert ward.turn(turn)[:2] == ("failed", "session_no_capacity")
    assert ward.head(unplaced).end_reason == "no_capacity"
    assert ward.head(expired).end_reason == "lifetime_reached"


def test_a_sweep_says_that_nobody_has_the_agent_when_a_start_limit_is_over(ward: Ward) -> None:
    session = ward.seeds.session()
    with ward.database.write() as connection:
        connection.execute(heads.heads.update().values(start_by=clock.now() - timedelta(seconds=1)))
        for worker in (ward.lost, ward.me):
            workers.set_agents(connection, worker, {"demo": {"ready": False, "problem": "demo is not on PATH."}})

    sweeper(ward, Recorder()).sweep()

    head = ward.head(session)
    assert head.end_reason == "no_capacity"
    assert head.end_detail == (
        "No worker could start agent demo within this session's start limit: demo is not on PATH."
    )


def test_a_sweep_strands_what_has_its_disk_and_not_its_agent_until_a_worker_has_both(ward: Ward) -> None:
    session = ward.session()
    with ward.database.write() as connection:
        assert ownership.hand_over(connection, session, 1, SessionStatus.PARKED, clock.now())
        workers.set_agents(connection, ward.me, {"demo": {"ready": False, "problem": "demo is not on PATH."}})
    swept = sweeper(ward, host := Recorder())

    # The other worker of the volume is ready.
    swept.sweep()
    assert ward.log(session) == []
    with ward.database.write() as connection:
        workers.set_state(connection, ward.lost, "lost")
    swept.sweep()
    swept.sweep()

    assert [data for _, data in ward.log(session)] == [
        {"reason": "no_worker_with_agent", "volume_id": "vol", "agent": "demo"}
    ]
    assert (ward.head(session).status, host.offers) == ("stranded", 0)
    with ward.database.write() as connection:
        workers.set_agents(connection, ward.me, {"demo": {"ready": True}})
    swept.sweep()
    assert host.offers == 1


def test_a_sweep_names_what_no_live_workers_volume_holds_stranded_once(ward: Ward) -> None:
    session = ward.session()
    ward.seeds.worker("far", volume="elsewhere")
    with ward.database.write() as connection:
        connection.execute(
            heads.heads.update().where(heads.heads.c.session_id == session).values(owner=None, volume_id="gone")
        )
    ward.wish(session, InputKind.MODE)
    swept = sweeper(ward, Recorder())

    swept.sweep()
    swept.sweep()

    assert [kind for kind, _ in ward.log(session)] == ["session_stranded"]
    assert ward.head(session).status == "stranded"


def test_a_sweep_rescues_a_lapsed_peer_only_while_the_store_takes_our_own_beat(ward: Ward) -> None:
    session, turn = ward.running()
    swept = sweeper(ward, Recorder(), lapse_s=0.0)
    swept = replace(swept, observer=LapseObserver(lapse_s=0.0, gap_s=0.0))

    # Our own beat stands still: nobody's silence proves anything.
    for _ in range(3):
        swept.sweep()
    assert ward.head(session).owner == ward.lost

    alive = sweeper(ward, Recorder(), lapse_s=0.0)
    alive.sweep()
    assert ward.beat(ward.me)
    alive.sweep()

    assert ward.head(session).owner is None
    assert ward.turn(turn)[0] == "interrupted"


def test_a_worker_that_was_judged_lost_judges_nobody(ward: Ward) -> None:
    session, _ = ward.running()
    with ward.database.write() as connection:
        workers.set_state(connection, ward.me, "lost")
        workers.set_state(connection, ward.lost, "lost")
    swept = sweeper(ward, Recorder(), lapse_s=0.0)

    swept.sweep()
    swept.sweep()

    assert ward.head(session).owner == ward.lost
