"""What a tenant asks of webhooks, beside a running delivery process: to make, change and remove endpoints."""

from __future__ import annotations

import json

import pytest

from shared.domain.errors import InvalidField, NotFound, VersionMismatch
from shared.domain.ids import TenantId
from shared.domain.webhook import EndpointSpec, EndpointStatus
from shared.operations import deliveries, webhooks
from shared.operations.deliveries import Replay
from shared.operations.transaction import Answer, Once, Replayed
from tests.fixtures.delivering import LOOPBACK, config_of, delivering
from tests.fixtures.operating import caller_of, context_of
from tests.fixtures.waiting import eventually

# --------------------------------------------------------------------------- endpoints


def test_a_created_endpoint_is_served_with_the_secret_it_was_given(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a"), description="mine\x00", event_types=("message",)))
    home.log(home.session(), 2)
    with delivering(config_of(home.url)):
        [post] = receiver.wait_for("/a", 1)

    assert post.is_signed_with(made.secret)
    assert webhooks.get(*asked, made.id).spec.description == "mine\\u0000"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (EndpointSpec("http://169.254.169.254/"), "url"),
        (EndpointSpec("http://[::ffff:10.0.0.1]/"), "url"),
        (EndpointSpec("http://0xa9fea9fe/"), "url"),
        (EndpointSpec("http://2852039166/"), "url"),
        (EndpointSpec("http://10.1/"), "url"),
        (EndpointSpec("http://93.184.216.34:6379/"), "url"),
        (EndpointSpec("https://user:pw@x.test/"), "url"),
        (EndpointSpec("not a url"), "url"),
        (EndpointSpec("https://93.184.216.34/", event_types=("Message",)), "events"),
        (EndpointSpec("https://93.184.216.34/", event_types=("message",) * 51), "events"),
        (EndpointSpec("https://93.184.216.34/", headers={"webhook-id": "x"}), "headers"),
        (EndpointSpec("https://93.184.216.34/", concurrency=0), "concurrency"),
        (EndpointSpec("https://93.184.216.34/", rate_per_s=-1.0), "rate_per_s"),
        (EndpointSpec("https://93.184.216.34/", rate_per_s=float("nan")), "rate_per_s"),
        (EndpointSpec("https://93.184.216.34/", description="x" * 1001), "description"),
    ],
)
def test_what_no_endpoint_can_be_is_refused_by_field_and_nothing_is_made(sqlite_home, spec, field):
    asked = context_of(sqlite_home), caller_of(sqlite_home)

    with pytest.raises(InvalidField) as refused:
        webhooks.create(*asked, spec)

    assert refused.value.facts["field"] == field
    assert webhooks.page(*asked) == ([], None)


def test_a_loopback_name_is_refused_where_the_operator_does_not_allow_it(sqlite_home):
    strict = context_of(sqlite_home, webhook_rules=type(LOOPBACK).read((), ("80", "443")))

    for url in ("http://localhost/", "http://127.0.0.1/", "http://127.1/", "http://[::1]/"):
        with pytest.raises(InvalidField, match="CORRAL_WEBHOOK_ALLOW"):
            webhooks.create(strict, caller_of(sqlite_home), EndpointSpec(url))


def test_a_name_that_leads_nowhere_yet_is_taken(sqlite_home):
    asked = context_of(sqlite_home), caller_of(sqlite_home)

    assert webhooks.create(*asked, EndpointSpec("https://receiver.invalid/hook")).status is EndpointStatus.ACTIVE


@pytest.mark.parametrize("secret", ["x", "whsec_AAAA", "whsec_???"])
def test_a_secret_that_cannot_sign_is_refused(sqlite_home, secret):
    with pytest.raises(InvalidField) as refused:
        webhooks.create(
            context_of(sqlite_home), caller_of(sqlite_home), EndpointSpec("https://x.invalid/"), secret=secret
        )

    assert refused.value.facts["field"] == "secret"


def test_creating_twice_under_one_key_makes_one_endpoint(home, asked):
    once = Once("POST /v1/webhooks", "k1", "hash", lambda made: Answer(201, json.dumps({"id": made.id})))
    made = webhooks.create(*asked, EndpointSpec("https://x.invalid/"), once=once)
    with pytest.raises(Replayed) as again:
        webhooks.create(*asked, EndpointSpec("https://x.invalid/"), once=once)

    assert json.loads(again.value.answer.text) == {"id": made.id}
    assert len(webhooks.page(*asked)[0]) == 1


def test_a_disabled_endpoint_stands_still_and_goes_on_from_there(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    session = home.session()
    with delivering(config_of(home.url)):
        home.log(session, 2)
        receiver.wait_for_seqs("/a", [1, 2])
        webhooks.patch(*asked, made.id, enabled=False)
        other = webhooks.create(*asked, EndpointSpec(receiver.url("/b")))
        home.log(session, 3)
        receiver.wait_for_seqs("/b", [3, 4, 5])
        changed = webhooks.patch(*asked, made.id, enabled=True, url=receiver.url("/moved"))
        receiver.wait_for_seqs("/moved", [3, 4, 5])

    assert receiver.seqs("/a") == [1, 2]
    assert (changed.version, changed.spec.url) == (3, receiver.url("/moved"))
    assert other.id != made.id


def test_a_change_of_url_and_filter_holds_for_the_next_delivery(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    session = home.session()
    with delivering(config_of(home.url)):
        home.log(session, 1)
        receiver.wait_for_seqs("/a", [1])
        webhooks.patch(*asked, made.id, url=receiver.url("/b"), event_types=("turn_ended",))
        eventually(lambda: home.log(session, 1, type="turn_ended") and receiver.at("/b"))
        home.log_types(session, ["message", "turn_ended"])
        eventually(lambda: {event["type"] for event in receiver.at("/b")[-1].content["events"]} == {"turn_ended"})


def test_a_change_against_an_old_version_changes_nothing(home, asked):
    made = webhooks.create(*asked, EndpointSpec("https://x.invalid/"))
    webhooks.patch(*asked, made.id, if_version=1, description="first")
    with pytest.raises(VersionMismatch):
        webhooks.patch(*asked, made.id, if_version=1, description="second")
    with pytest.raises(InvalidField):
        webhooks.patch(*asked, made.id, url="http://10.0.0.1/")

    found = webhooks.get(*asked, made.id)
    assert (found.spec.description, found.spec.url, found.version) == ("first", "https://x.invalid/", 2)


def test_after_a_rotation_new_and_old_secret_sign(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    rotated = webhooks.rotate_secret(*asked, made.id)
    home.log(home.session(), 1)
    with delivering(config_of(home.url)):
        [post] = receiver.wait_for("/a", 1)

    assert rotated.secret != made.secret
    assert post.is_signed_with(made.secret)
    assert post.is_signed_with(rotated.secret)


def test_deleting_is_told_once(home, asked):
    made = webhooks.create(*asked, EndpointSpec("https://x.invalid/"))

    assert webhooks.delete(*asked, made.id)
    assert not webhooks.delete(*asked, made.id)
    with pytest.raises(NotFound):
        webhooks.get(*asked, made.id)


def test_nothing_of_another_tenant_is_there(home, asked, receiver):
    made = webhooks.create(*asked, EndpointSpec(receiver.url("/a")))
    session = home.session()
    home.log(session, 1)
    with delivering(config_of(home.url)):
        receiver.wait_for("/a", 1)
    [sent], _ = deliveries.page(*asked, made.id)
    stranger = context_of(home), caller_of(home, TenantId("ten_stranger"))

    assert webhooks.page(*stranger) == ([], None)
    assert not webhooks.delete(*stranger, made.id)
    for ask in (
        lambda: webhooks.get(*stranger, made.id),
        lambda: webhooks.patch(*stranger, made.id, enabled=False),
        lambda: webhooks.rotate_secret(*stranger, made.id),
        lambda: deliveries.send_test(*stranger, made.id),
        lambda: deliveries.page(*stranger, made.id),
        lambda: deliveries.get(*stranger, sent.id),
        lambda: deliveries.resend(*stranger, sent.id),
        lambda: deliveries.replay(*stranger, made.id, Replay(session)),
        lambda: deliveries.replay(*stranger, made.id, Replay(dead_only=True)),
    ):
        with pytest.raises(NotFound):
            ask()
    assert webhooks.get(*asked, made.id).version == 1


def test_a_callbacks_endpoint_is_nobodys_to_change(home, asked, receiver):
    session = home.session()
    _, callback = home.turn(session, receiver.url("/callback"))

    with pytest.raises(NotFound):
        webhooks.patch(*asked, callback.id, enabled=False)
