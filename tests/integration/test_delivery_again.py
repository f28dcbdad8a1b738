"""Deliveries a tenant asks for: a test, one sent again, a replay; beside a running delivery process."""

from __future__ import annotations

import pytest

from shared.domain import clock
from shared.domain.errors import EndpointDisabled, HistoryRemoved, InvalidField, NotFound, Refused
from shared.domain.ids import DeliveryId, EndpointId, SessionId
from shared.domain.turn import Ending, TurnStatus
from shared.domain.webhook import DeliveryStatus, EndpointSpec
from shared.operations import deliveries, webhooks
from shared.operations.deliveries import Replay
from shared.store import events as event_rows
from shared.store import heads, lanes
from tests.fakes.webhook_receiver import status
from tests.fixtures.delivering import config_of, delivering
from tests.fixtures.waiting import eventually
from workers.delivery.schedule import Ladder


def settled(asked, delivery_id, wanted):
    def look():
        found = deliveries.get(*asked, delivery_id)
        return found if found[0].status == wanted else None

    return eventually(look, about=f"{delivery_id} {wanted}")


# --------------------------------------------------------------------------- tests


def test_a_test_is_sent_once_and_tells_what_came_of_it(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    with delivering(config_of(home.url)), delivering(config_of(home.url)):
        good = deliveries.send_test(*asked, made.id)
        delivered, tries = settled(asked, good.id, DeliveryStatus.DELIVERED)
        receiver.react("/a", status(500, text="not today"))
        webhooks.patch(*asked, made.id, enabled=False)
        bad = deliveries.send_test(*asked, made.id)
        dead, failures = settled(asked, bad.id, DeliveryStatus.DEAD)

    assert len(receiver.at("/a")) == 2
    assert receiver.at("/a")[0].content["type"] == "webhook.test"
    assert receiver.at("/a")[0].is_signed_with(made.secret)
    assert (delivered.attempts, tries[0].status_code) == (1, 200)
    assert (dead.dead_reason, failures[0].status_code, failures[0].response) == ("test_failed", 500, "not today")
    with pytest.raises(Refused):
        deliveries.resend(*asked, bad.id)


# --------------------------------------------------------------------------- resend


def test_a_dead_delivery_is_sent_again_with_the_same_bytes_and_later_ones_stay_in_order(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    session = home.session()
    receiver.react("/a", *[status(500)] * 4, status(200))
    with delivering(config_of(home.url)):
        home.log(session, 2)
        [first] = eventually(lambda: deliveries.page(*asked, made.id, status=[DeliveryStatus.DEAD])[0])
        home.log(session, 2)
        receiver.wait_for_seqs("/a", [1, 2, 3, 4])
        assert deliveries.resend(*asked, first.id).status is DeliveryStatus.QUEUED
        found, tries = settled(asked, first.id, DeliveryStatus.DELIVERED)
        home.log(session, 1)
        receiver.wait_for_seqs("/a", [1, 2, 3, 4, 5])

    posts = [post for post in receiver.at("/a") if post.id == first.id]
    assert len({post.body for post in posts}) == 1
    assert (found.attempts, len(tries), tries[-1].outcome) == (5, 5, "delivered")
    assert receiver.at("/a")[-1].content["prev_seq"] == 4, "what was sent again does not turn prev_seq back"


def test_a_resend_of_a_waiting_delivery_is_its_retry_now(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    receiver.react("/a", status(500), status(200))
    home.log(home.session(), 1)
    with delivering(config_of(home.url, ladder=Ladder((3600.0,)))):
        [waiting] = eventually(lambda: [one for one in deliveries.page(*asked, made.id)[0] if one.attempts == 1])
        deliveries.resend(*asked, waiting.id)
        settled(asked, waiting.id, DeliveryStatus.DELIVERED)

    assert len(receiver.at("/a")) == 2


def test_a_delivered_one_may_be_sent_again_long_after_its_lane_was_let_go(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    home.log(home.session(), 1)
    with delivering(config_of(home.url, idle_s=0.05)):
        [sent] = eventually(lambda: deliveries.page(*asked, made.id, status=[DeliveryStatus.DELIVERED])[0])

        def let_go():
            with home.database.read() as connection:
                return not lanes.owners(connection)

        eventually(let_go)
        deliveries.resend(*asked, sent.id)
        receiver.wait_for("/a", 2)
        eventually(lambda: deliveries.get(*asked, sent.id)[0].attempts == 2)

    first, second = receiver.at("/a")
    assert (first.id, first.body) == (second.id, second.body)


def test_a_resend_that_fails_goes_down_the_ladder_anew(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    receiver.react("/a", *[status(500)] * 7, status(200))
    home.log(home.session(), 1)
    with delivering(config_of(home.url)):
        [dead] = eventually(lambda: deliveries.page(*asked, made.id, status=[DeliveryStatus.DEAD])[0])
        deliveries.resend(*asked, dead.id)
        found, _ = settled(asked, dead.id, DeliveryStatus.DELIVERED)

    assert found.attempts == 8


def test_a_callback_may_be_told_again(home, asked, receiver):
    session = home.session()
    turn, callback = home.turn(session, receiver.url("/callback"))
    home.end_turn(session, turn, Ending(TurnStatus.COMPLETED, "end_turn", result_text="done"))
    with delivering(config_of(home.url)):
        receiver.wait_for("/callback", 1)
        [sent] = eventually(lambda: [one for one in home.deliveries(callback.id) if one.status == "delivered"])
        deliveries.resend(*asked, sent.id)
        first, second = receiver.wait_for("/callback", 2)

    assert (first.id, first.body) == (second.id, second.body)


def test_what_cannot_be_sent_again_is_refused(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    session = home.session()
    home.log(session, 3)
    with delivering(config_of(home.url)):
        [sent] = eventually(lambda: deliveries.page(*asked, made.id, status=[DeliveryStatus.DELIVERED])[0])
    webhooks.patch(*asked, made.id, enabled=False)
    with pytest.raises(EndpointDisabled):
        deliveries.resend(*asked, sent.id)
    with pytest.raises(EndpointDisabled):
        deliveries.replay(*asked, made.id, Replay(dead_only=True))
    webhooks.patch(*asked, made.id, enabled=True)
    with home.database.write() as connection:
        event_rows.remove_upto(connection, session, 2)
        heads.set_first_seq(connection, session, 3)
    with pytest.raises(HistoryRemoved):
        deliveries.resend(*asked, sent.id)
    with pytest.raises(HistoryRemoved):
        deliveries.replay(*asked, made.id, Replay(session))
    with pytest.raises(NotFound):
        deliveries.resend(*asked, DeliveryId("dlv_none"))

    assert deliveries.get(*asked, sent.id)[0].status is DeliveryStatus.DELIVERED


# --------------------------------------------------------------------------- replay


def test_a_replay_sends_a_sessions_events_again_in_order_and_leaves_the_lane_where_it_is(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    session = home.session()
    home.log(session, 230)
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/a", list(range(1, 231)))
        eventually(lambda: {one.status for one in home.deliveries(made.id)} == {"delivered"})
        before = len(receiver.at("/a"))
        result = deliveries.replay(*asked, made.id, Replay(session, after_seq=10))
        receiver.wait_for("/a", before + 3)
        home.log(session, 1)
        receiver.wait_for_seqs("/a", list(range(1, 232)))

    again = [seq for post in receiver.at("/a")[before:] for seq in post.seqs]
    assert (result.deliveries, result.last_seq, result.has_more) == (3, 230, False)
    assert again == [*range(11, 231), 231]
    assert [post.content["prev_seq"] for post in receiver.at("/a")[before:]] == [10, 110, 210, 230]


def test_a_replay_brings_what_was_before_the_endpoint(home, asked, receiver):
    session = home.session()
    home.log(session, 5)
    made = home.endpoint(receiver.url("/a"))
    with home.database.write() as connection:
        # An endpoint younger than the session's events, whose lane nothing has called for yet.
        connection.execute(
            webhooks.endpoints.endpoints.update().values(created_at=clock.from_text("2099-01-01T00:00:00Z"))
        )
    with delivering(config_of(home.url)):
        result = deliveries.replay(*asked, made.id, Replay(session))
        receiver.wait_for_seqs("/a", [1, 2, 3, 4, 5])

    assert result.deliveries == 1
    assert receiver.seqs("/a") == [1, 2, 3, 4, 5]


def test_a_long_replay_says_where_to_go_on(home, asked, monkeypatch):
    monkeypatch.setattr(deliveries, "REPLAY_DELIVERIES", 3)
    session = home.session()
    home.log(session, 730)
    made = home.endpoint("https://x.invalid/")
    with home.database.write() as connection:
        lanes.ensure(connection, lanes.LaneKey(made.id, session), cursor=730, due_at=None)
    after, told = 0, []
    while True:
        result = deliveries.replay(*asked, made.id, Replay(session, after_seq=after))
        told.append((result.deliveries, result.last_seq, result.has_more))
        if not result.has_more:
            break
        after = result.last_seq

    assert told == [(3, 300, True), (3, 600, True), (2, 730, False)]
    assert sum(one.last_seq - one.first_seq + 1 for one in home.deliveries(made.id)) == 730


def test_a_filtering_endpoint_is_replayed_what_it_hears_of(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a"), event_types=("turn_ended",)))
    session = home.session()
    home.log_types(session, ["message", "turn_ended", "message", "turn_ended", "message"])
    with delivering(config_of(home.url, idle_s=0.05)):
        receiver.wait_for_seqs("/a", [2, 4])
        eventually(lambda: {one.status for one in home.deliveries(made.id)} == {"delivered"})
        result = deliveries.replay(*asked, made.id, Replay(session))
        receiver.wait_for("/a", 2)

    assert result.deliveries == 1
    assert receiver.at("/a")[1].seqs == [2, 4]


def test_dead_deliveries_are_replayed_alone(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    sessions = [home.session(), home.session()]
    receiver.react("/a", status(500))
    with delivering(config_of(home.url, scale=1e-4)):
        for session in sessions:
            home.log(session, 2)
        eventually(lambda: [one.status for one in home.deliveries(made.id)] == ["dead"] * 2)
        receiver.react("/a", status(200))
        home.log(sessions[0], 1)
        receiver.wait_for_seqs("/a", [1, 2, 3])
        assert deliveries.replay(*asked, made.id, Replay(sessions[0], dead_only=True)).deliveries == 1
        assert deliveries.replay(*asked, made.id, Replay(dead_only=True)).deliveries == 1
        eventually(lambda: [one.status for one in home.deliveries(made.id)] == ["delivered"] * 3)


def test_a_replay_names_a_session_of_ones_own(home, asked):
    made = webhooks.create(*asked, EndpointSpec("https://x.invalid/"))
    with pytest.raises(InvalidField):
        deliveries.replay(*asked, made.id, Replay())
    with pytest.raises(NotFound):
        deliveries.replay(*asked, made.id, Replay(SessionId("ses_none")))
    with pytest.raises(NotFound):
        deliveries.replay(*asked, EndpointId("whk_none"), Replay(dead_only=True))
