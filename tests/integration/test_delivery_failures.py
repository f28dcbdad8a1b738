"""Receivers that fail, hang, lie or are gone, and deliveries whose subject is; with a real one, on both databases."""

from __future__ import annotations

import pytest

from shared.domain import clock
from shared.domain.webhook import EndpointStatus
from shared.store import deliveries, endpoints, heads, lanes
from shared.store import events as event_rows
from tests.fakes.webhook_receiver import endless, hang, reset, status
from tests.fixtures.delivering import config_of, delivering
from tests.fixtures.waiting import eventually
from workers.delivery.schedule import Ladder


def attempts(home, delivery):
    with home.database.read() as connection:
        return deliveries.attempts_of(connection, delivery.id)


def only(home, endpoint, *, status=None):
    """The one delivery of an endpoint, once it has that status."""

    def look():
        found = home.deliveries(endpoint.id)
        return found if len(found) == 1 and (status is None or found[0].status == status) else None

    return eventually(look, about=f"one delivery, {status}")[0]


# --------------------------------------------------------------------------- failures of the receiver


def test_a_retry_sends_the_same_bytes_under_the_same_id(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    session = home.session()
    receiver.react("/a", status(500, text="no"), status(503), status(200))
    with delivering(config_of(home.url)):
        home.log(session, 5)
        posts = receiver.wait_for("/a", 3)
        home.log(session, 5)
        receiver.wait_for_seqs("/a", list(range(1, 11)))
        eventually(lambda: [one.status for one in home.deliveries(endpoint.id)] == ["delivered"] * 2)

    assert len({post.body for post in posts}) == 1
    assert len({post.id for post in posts}) == 1
    assert all(post.is_signed_with(endpoint.secret) for post in posts)
    made = attempts(home, home.deliveries(endpoint.id)[0])
    assert [(one.n, one.outcome, one.status_code) for one in made] == [
        (1, "answered", 500),
        (2, "answered", 503),
        (3, "delivered", 200),
    ]
    assert made[0].response == "no"


@pytest.mark.parametrize(
    ("reaction", "outcome", "code"),
    [
        (status(301, headers={"location": "/elsewhere"}), "answered", 301),
        (status(400, text="bad\x00request"), "answered", 400),
        (status(503, headers={"retry-after": "0"}), "answered", 503),
        (reset(), "unreachable", None),
        (hang(), "timed_out", None),
        (endless(pause_s=0.05, chunk=b"x"), "timed_out", None),
        (endless(pause_s=0.0, chunk=b"x" * 65536, code=500), "answered", 500),
    ],
    ids=["redirect", "bad request", "unavailable", "reset", "hang", "slow body", "endless body"],
)
def test_a_failure_is_told_for_what_it_was_and_tried_again(home, receiver, reaction, outcome, code):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", reaction, status(200))
    home.log(home.session(), 2)
    with delivering(config_of(home.url, timeout_s=0.4)):
        delivery = only(home, endpoint, status="delivered")

    made = attempts(home, delivery)
    assert [(one.outcome, one.status_code) for one in made] == [(outcome, code), ("delivered", 200)]
    assert not receiver.at("/elsewhere")
    assert len(made[0].response or "") <= 2048
    assert receiver.seqs("/a") == [1, 2, 1, 2]


def test_an_endless_answer_of_success_counts_once_16_kilobytes_are_read(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", endless(pause_s=0.0, chunk=b"x" * 65536))
    home.log(home.session(), 1)
    with delivering(config_of(home.url)):
        delivery = only(home, endpoint, status="delivered")

    [made] = attempts(home, delivery)
    assert made.response == "x" * 2048


def test_nobody_listening_is_tried_again(home, receiver):
    endpoint = home.endpoint("http://127.0.0.1:1/")
    home.log(home.session(), 1)
    with delivering(config_of(home.url)):
        delivery = only(home, endpoint, status="dead")

    assert {one.outcome for one in attempts(home, delivery)} == {"unreachable"}


def test_an_address_inside_is_refused_and_ends_dead(home, receiver):
    endpoint = home.endpoint("http://169.254.169.254/latest/meta-data")
    home.log(home.session(), 1)
    with delivering(config_of(home.url)):
        delivery = only(home, endpoint, status="dead")

    made = attempts(home, delivery)
    assert {one.outcome for one in made} == {"refused"}
    assert "169.254" not in (made[0].error or "")


def test_after_the_ladder_a_delivery_is_dead_and_the_lane_goes_on(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    session = home.session()
    receiver.react("/a", *[status(500)] * 4, status(200))
    with delivering(config_of(home.url)):
        home.log(session, 2)
        receiver.wait_for("/a", 4)
        home.log(session, 2)
        eventually(lambda: [one.status for one in home.deliveries(endpoint.id)] == ["dead", "delivered"])

    dead, delivered = home.deliveries(endpoint.id)
    assert (dead.attempts, dead.dead_reason) == (4, "retries_exhausted")
    # The receiver sees from prev_seq that it has not been told of 1 and 2.
    assert receiver.posts[-1].content["prev_seq"] == 2
    assert delivered.prev_seq == 2


def test_retries_keep_to_the_ladder_and_to_retry_after(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", status(500), status(429, headers={"retry-after": "1"}), status(200))
    home.log(home.session(), 1)
    with delivering(config_of(home.url, ladder=Ladder((0.3, 0.1)))):
        only(home, endpoint, status="delivered")

    first, second, third = (post.at for post in receiver.at("/a"))
    assert 0.24 <= second - first <= 0.36 + 0.25
    assert 1.0 <= third - second <= 1.0 + 0.25


def test_an_answer_of_410_disables_at_once_and_loses_nothing(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    sessions = [home.session(), home.session()]
    receiver.react("/a", status(410), status(200))
    with delivering(config_of(home.url)):
        home.log(sessions[0], 2)
        eventually(lambda: home.read_endpoint(endpoint.id).status is EndpointStatus.DISABLED)
        home.log(sessions[0], 1)
        home.log(sessions[1], 1)
        other = home.endpoint(receiver.url("/b"))
        home.log(sessions[0], 1)
        receiver.wait_for("/b", 1)
        assert len(receiver.at("/a")) == 1
        assert home.read_endpoint(endpoint.id).disabled_reason == "gone"

        disabled = home.read_endpoint(endpoint.id)
        with home.database.write() as connection:
            home.store.update(connection, disabled, disabled.spec, enabled=True, at=clock.now())
        eventually(lambda: len(receiver.seqs("/a")) == 2 + 2 + 1 + 1 + 1, timeout_s=15)

    told = [(post.content["session_id"], post.seqs) for post in receiver.at("/a")]
    assert told[0] == (sessions[0], [1, 2])
    assert [seq for session, seqs in told[1:] if session == sessions[0] for seq in seqs] == [1, 2, 3, 4]
    assert [seq for session, seqs in told[1:] if session == sessions[1] for seq in seqs] == [1]
    assert home.read_endpoint(other.id).status is EndpointStatus.ACTIVE


def test_an_endpoint_that_only_fails_for_long_is_disabled(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", status(500))
    # Five days at this scale are 0.4 s; the breaker opens for some microseconds.
    with delivering(config_of(home.url, scale=1e-6, ladder=Ladder((0.02,) * 500))):
        home.log(home.session(), 1)
        eventually(lambda: home.read_endpoint(endpoint.id).status is EndpointStatus.DISABLED)

    found = home.read_endpoint(endpoint.id)
    assert found.disabled_reason == "failing"
    assert found.failing_since is not None


def test_one_success_ends_the_time_of_failing(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", *[status(500)] * 7, status(200))
    with delivering(config_of(home.url, scale=1e-4, ladder=Ladder((0.05,) * 50))):
        home.log(home.session(), 1)
        eventually(lambda: home.read_endpoint(endpoint.id).failing_since)
        only(home, endpoint, status="delivered")
        eventually(lambda: home.read_endpoint(endpoint.id).failing_since is None)

    assert home.read_endpoint(endpoint.id).status is EndpointStatus.ACTIVE


def test_a_dead_endpoint_costs_one_probe_a_period(home, receiver):
    home.endpoint(receiver.url("/a"))
    receiver.react("/a", status(500))
    for _ in range(20):
        home.log(home.session(), 1)
    # The breaker opens for 1 s, the ladder alone would send 20 requests each 50 ms.
    with delivering(config_of(home.url, scale=1 / 30, ladder=Ladder((0.05,) * 200), concurrency=4)):
        receiver.wait_for("/a", 5)
        opened = receiver.at("/a")[4].at
        receiver.wait_for("/a", 10, timeout_s=60)

    after = [post.at - opened for post in receiver.at("/a")[8:]]
    assert min(after) >= 0.9
    assert after[1] - after[0] >= 0.9


# --------------------------------------------------------------------------- isolation


def test_hung_endpoints_harm_nobody_else(home, receiver):
    for number in range(23):
        home.endpoint(receiver.url(f"/{number}"))
        if number < 3:
            receiver.react(f"/{number}", hang())
    sessions = [home.session() for _ in range(4)]
    with delivering(config_of(home.url, timeout_s=6.0)):
        for session in sessions:
            home.log(session, 10)
        for number in range(3, 23):
            eventually(lambda number=number: len(receiver.seqs(f"/{number}")) == 40, timeout_s=10)
        for session in sessions:
            home.log(session, 10)
        for number in range(3, 23):
            eventually(lambda number=number: len(receiver.seqs(f"/{number}")) == 80, timeout_s=10)

        # The hung ones hold one request a lane, no more.
        assert all(receiver.most_at_once[f"/{number}"] == 4 for number in range(3))


def test_an_endpoint_gets_no_more_requests_at_once_than_it_set(home, receiver):
    home.endpoint(receiver.url("/a"), concurrency=2)
    receiver.react("/a", hang(0.05))
    for _ in range(12):
        home.log(home.session(), 1)
    with delivering(config_of(home.url)):
        receiver.wait_for("/a", 12)

    assert receiver.most_at_once["/a"] == 2


def test_a_lane_has_one_request_in_flight(home, receiver):
    home.endpoint(receiver.url("/a"))
    receiver.react("/a", hang(0.02))
    session = home.session()
    with delivering(config_of(home.url, window_s=0.001)):
        for _ in range(30):
            home.log(session, 5)
        receiver.wait_for_seqs("/a", list(range(1, 151)))

    assert receiver.most_at_once["/a"] == 1
    assert receiver.seqs("/a") == list(range(1, 151))


# --------------------------------------------------------------------------- the end of things


def test_events_removed_by_retention_show_as_a_gap(home, receiver):
    home.endpoint(receiver.url("/a"))
    session = home.session()
    home.log(session, 150)
    with home.database.write() as connection:
        event_rows.remove_upto(connection, session, 120)
        heads.set_first_seq(connection, session, 121)
    with delivering(config_of(home.url)):
        receiver.wait_for_seqs("/a", list(range(121, 151)))


def test_a_delivery_whose_events_were_removed_is_dead(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    session = home.session()
    receiver.react("/a", status(500), status(200))
    with delivering(config_of(home.url, ladder=Ladder((0.5,)))):
        home.log(session, 3)
        receiver.wait_for("/a", 1)
        with home.database.write() as connection:
            event_rows.remove_upto(connection, session, 2)
            heads.set_first_seq(connection, session, 3)
        delivery = only(home, endpoint, status="dead")
        home.log(session, 1)
        receiver.wait_for_seqs("/a", [1, 2, 3, 4])

    assert delivery.dead_reason == "removed"


def test_a_deleted_endpoint_gets_no_retry(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", status(500))
    with delivering(config_of(home.url, ladder=Ladder((0.3,) * 3))):
        home.log(home.session(), 1)
        receiver.wait_for("/a", 1)
        with home.database.write() as connection:
            assert endpoints.remove(connection, home.tenant, endpoint.id)
        home.endpoint(receiver.url("/b"))
        home.log(home.session(), 1)
        receiver.wait_for("/b", 1)
        eventually(lambda: clock.now().timestamp() - receiver.at("/a")[0].at > 0.6)

    assert len(receiver.at("/a")) == 1


def test_an_ended_process_has_released_its_lanes_and_finished_its_request(home, receiver):
    endpoint = home.endpoint(receiver.url("/a"))
    receiver.react("/a", hang(0.5))
    home.log(home.session(), 1)
    with delivering(config_of(home.url, timeout_s=5.0)):
        receiver.wait_for("/a", 1)

    assert home.deliveries(endpoint.id)[0].status == "delivered"
    with home.database.read() as connection:
        assert not lanes.owners(connection)
