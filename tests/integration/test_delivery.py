"""Webhooks on their way: order, signatures, filters, rotation, callbacks; with a real receiver, on both databases."""

from __future__ import annotations

import json
from datetime import timedelta

from shared.domain import clock
from shared.domain.turn import Ending, TurnStatus
from shared.domain.usage import Usage
from shared.domain.webhook import DeliveryStatus
from shared.store import deliveries, lanes, tenants
from shared.store import events as event_rows
from shared.store.endpoints import EndpointOwner
from tests.fakes.webhook_receiver import status
from tests.fixtures.delivering import config_of, delivering
from tests.fixtures.waiting import eventually


def attempts(home, delivery):
    with home.database.read() as connection:
        return deliveries.attempts_of(connection, delivery.id)


def only(home, endpoint, *, status=None):
    """The one delivery of an endpoint, once it has that status."""

    def look():
        found = home.deliveries(endpoint.id)
        return found if len(found) == 1 and (status is None or found[0].status == status) else None

    return eventually(look, about=f"one delivery, {status}")[0]


# --------------------------------------------------------------------------- the way as it should go


def test_events_arrive_signed_in_order_and_once(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    session = home.session()
    home.log(session, 3)
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/a", [1, 2, 3])
        home.log(session, 250)
        receiver.wait_for_seqs("/a", list(range(1, 254)))
        eventually(lambda: {one.status for one in home.deliveries(endpoint.id)} == {DeliveryStatus.DELIVERED})

    posts = receiver.at("/a")
    assert receiver.seqs("/a") == list(range(1, 254))
    assert all(post.is_signed_with(endpoint.secret) for post in posts)
    assert [(post.content["prev_seq"], post.content["first_seq"], post.content["last_seq"]) for post in posts] == [
        (0, 1, 3),
        (3, 4, 103),
        (103, 104, 203),
        (203, 204, 253),
    ]
    assert [one.id for one in home.deliveries(endpoint.id)] == [post.id for post in posts]
    assert {post.headers["content-type"] for post in posts} == {"application/json"}


def test_a_delivery_has_the_events_as_the_log_has_them(home, receiver):
    home.endpoint(receiver.url("/a"))
    session = home.session()
    home.log(session, 2, text='with "quotes", ü and a line\nbreak')
    with delivering(config_of(home.url)):
        [post] = receiver.wait_for("/a", 1)

    with home.database.read() as connection:
        held = event_rows.between(connection, session, 0, 2)
    assert all(event.envelope().encode() in post.body for event in held)
    assert post.content["session_id"] == session


def test_two_sessions_and_two_endpoints_make_four_lanes_each_whole(home, receiver):
    home.endpoint(receiver.url("/a"))
    home.endpoint(receiver.url("/b"))
    sessions = [home.session(), home.session()]
    for session in sessions:
        home.log(session, 120)
    with delivering(config_of(home.url)):
        for path in ("/a", "/b"):
            eventually(lambda path=path: len(receiver.seqs(path)) == 240)

    for path in ("/a", "/b"):
        for session in sessions:
            told = [seq for post in receiver.at(path) if post.content["session_id"] == session for seq in post.seqs]
            assert told == list(range(1, 121))


def test_large_events_are_cut_by_size_and_the_largest_travels_alone(home, receiver):
    home.endpoint(receiver.url("/a"))
    session = home.session()
    home.log(session, 6, text="x" * 60_000)
    home.log(session, 1, text="y" * 400_000)
    home.log(session, 1)
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/a", list(range(1, 9)))

    assert [post.seqs for post in receiver.at("/a")] == [[1, 2, 3, 4], [5, 6], [7], [8]]


def test_custom_headers_are_sent_beside_ours(home, receiver):
    home.endpoint(receiver.url("/a"), headers={"authorization": "Bearer t0k3n"})
    home.log(home.session(), 1)
    with delivering(config_of(home.url)):
        [post] = receiver.wait_for("/a", 1)

    assert post.headers["authorization"] == "Bearer t0k3n"
    assert post.headers["user-agent"].startswith("Corral-Webhooks/")
    assert post.headers["traceparent"].startswith("00-")


def test_a_session_that_was_quiet_since_costs_no_lane(home, receiver):
    session = home.session()
    home.log(session, 5, at=clock.now() - timedelta(seconds=60))
    endpoint = home.endpoint(receiver.url("/a"))
    other = home.session()
    home.log(other, 1)
    with delivering(config_of(home.url)):
        receiver.wait_for("/a", 1)

    with home.database.read() as connection:
        rows = lanes.found(connection, [lanes.LaneKey(endpoint.id, one) for one in (session, other)])
    assert [key.session for key in rows] == [other]


# --------------------------------------------------------------------------- where a lane begins


def test_a_tenants_endpoint_hears_of_events_made_when_it_was_there(home, receiver):
    session = home.session()
    home.log(session, 130, at=clock.now() - timedelta(seconds=60))
    home.endpoint(receiver.url("/a"))
    home.log(session, 3)
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/a", [131, 132, 133])

    assert receiver.at("/a")[0].content["prev_seq"] == 0


def test_a_sessions_own_webhook_hears_of_everything_from_the_first_event(home, receiver):
    session, other = home.session(), home.session()
    home.log(session, 3, at=clock.now() - timedelta(seconds=60))
    home.log(other, 3)
    home.endpoint(receiver.url("/own"), owner=EndpointOwner(home.tenant, session))
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/own", [1, 2, 3])
        home.log(session, 1)
        receiver.wait_for_seqs("/own", [1, 2, 3, 4])

    assert {post.content["session_id"] for post in receiver.at("/own")} == {session}


def test_another_tenants_sessions_are_not_told(home, receiver):
    with home.database.write() as connection:
        tenants.create(connection, "ten_other", "other", home.sealer, clock.now())
    home.endpoint(receiver.url("/theirs"), owner=EndpointOwner("ten_other"))
    home.endpoint(receiver.url("/ours"))
    home.log(home.session(), 2)
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/ours", [1, 2])

    assert not receiver.at("/theirs")


def test_an_endpoint_made_while_delivery_runs_is_served(home, receiver):
    session = home.session()
    with delivering(config_of(home.url)):
        home.endpoint(receiver.url("/late"))
        home.log(session, 2)
        receiver.wait_for_seqs("/late", [1, 2])


# --------------------------------------------------------------------------- filters


def test_a_filter_lets_its_types_through_and_tells_where_the_gaps_are(home, receiver):
    home.endpoint(receiver.url("/a"), event_types=("turn_ended", "tool_*"))
    session = home.session()
    home.log_types(session, ["message", "tool_call", "message", "tool_result", "message"])
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/a", [2, 4])
        home.log_types(session, ["message", "turn_ended"])
        receiver.wait_for_seqs("/a", [2, 4, 7])

    spans = [(post.content["prev_seq"], post.content["first_seq"], post.content["last_seq"]) for post in receiver.posts]
    assert spans == [(0, 2, 4), (4, 7, 7)]


def test_a_rare_type_is_found_in_a_long_log_and_the_rest_is_passed_over(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"), event_types=("turn_ended",))
    session = home.session()
    for _ in range(3):
        home.log(session, 900)
        home.log(session, 1, type="turn_ended")
    home.log(session, 500)
    with delivering(config_of(home.url, idle_s=0.3)):
        receiver.wait_for_seqs("/a", [901, 1802, 2703])

        def cursor():
            with home.database.read() as connection:
                key = lanes.LaneKey(endpoint.id, session)
                return lanes.found(connection, [key])[key].cursor

        eventually(lambda: cursor() == 3203, about="the idle lane wrote down how far it looked")


def test_a_retry_of_filtered_events_sends_the_same_bytes(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"), event_types=("tool_*",))
    receiver.react("/a", status(500), status(200))
    home.log_types(home.session(), ["tool_call", "message", "tool_result"])
    with delivering(config_of(home.url)):
        first, second = receiver.wait_for("/a", 2)
        only(home, endpoint, status="delivered")

    assert first.body == second.body
    assert first.seqs == [1, 3]


# --------------------------------------------------------------------------- rotation, callbacks


def test_during_a_rotation_both_secrets_verify(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    session = home.session()
    with delivering(config_of(home.url)):
        home.log(session, 1)
        receiver.wait_for("/a", 1)
        with home.database.write() as connection:
            rotated = home.store.rotate_secret(connection, endpoint, "whsec_" + "A" * 43 + "=", clock.now())
        eventually(lambda: home.log(session, 1) and " " in receiver.at("/a")[-1].headers["webhook-signature"])

    post = receiver.at("/a")[-1]
    assert post.is_signed_with(endpoint.secret)
    assert post.is_signed_with(rotated.secret)


def test_a_finished_turn_is_told_once_flat_signed_with_the_tenants_secret(home, receiver):
    session = home.session()
    turn, endpoint = home.turn(session, receiver.url("/callback"))
    with home.database.read() as connection:
        secret = tenants.callback_secret(connection, home.tenant, home.sealer)
    receiver.react("/callback", status(500), status(200))
    with delivering(config_of(home.url)):
        home.log(session, 3)
        home.endpoint(receiver.url("/a"))
        home.log(session, 1)
        receiver.wait_for("/a", 1)
        assert not receiver.at("/callback")

        ending = Ending(TurnStatus.COMPLETED, "end_turn", result_text="done", usage=Usage(1, 2, 3, 4), cost_usd=0.25)
        home.end_turn(session, turn, ending)
        first, second = receiver.wait_for("/callback", 2)
        only(home, endpoint, status="delivered")
        home.log(session, 5)
        receiver.wait_for_seqs("/a", [4, 5, 6, 7, 8, 9, 10])

    assert len(receiver.at("/callback")) == 2
    assert first.body == second.body
    assert first.id == second.id
    assert second.is_signed_with(secret)
    told = json.loads(first.body)
    assert told["type"] == "turn.ended"
    assert (told["session_id"], told["turn_id"], told["status"]) == (session, turn, "completed")
    assert (told["result_text"], told["cost_usd"], told["usage"]["output_tokens"]) == ("done", 0.25, 2)


def test_a_turn_that_ended_while_nobody_delivered_is_told_afterwards(home, receiver):
    session = home.session()
    turn, endpoint = home.turn(session, receiver.url("/callback"))
    home.end_turn(session, turn, Ending(TurnStatus.CANCELLED, "cancelled"))
    with delivering(config_of(home.url)):
        only(home, endpoint, status="delivered")
    with delivering(config_of(home.url)):
        home.endpoint(receiver.url("/a"))
        home.log(session, 1)
        receiver.wait_for("/a", 1)

    assert len(receiver.at("/callback")) == 1
