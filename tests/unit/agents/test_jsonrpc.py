"""JSON-RPC line by line: every message is read for what it is, and what is none does no harm."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from shared.agents import jsonrpc
from shared.agents.jsonrpc import Failure, Malformed, Notification, Peer, Request, Result, Stray
from tests.conformance.mutation import ODD_LINES, mutate


@pytest.fixture
def peer() -> Peer[str]:
    return Peer(versioned=False)


def sent(send):
    assert send.data.endswith(b"\n")
    return json.loads(send.data)


def test_a_request_goes_out_under_an_id_of_its_own_and_its_answer_brings_the_purpose_back(peer):
    first = sent(peer.request("turn/start", {"a": 1}, "a turn"))
    second = sent(peer.request("turn/start", {}, "another"))

    assert first == {"id": 1, "method": "turn/start", "params": {"a": 1}}
    assert peer.read(json.dumps({"id": second["id"], "result": {"ok": True}})) == Result("another", {"ok": True})
    assert peer.awaits("a turn")
    assert peer.read('{"id":1,"result":null}') == Result("a turn", {})
    assert not peer.awaits("a turn")


def test_a_refused_request_brings_its_purpose_and_the_reason(peer):
    peer.request("thread/resume", {}, "resume")

    read = peer.read('{"id":1,"error":{"code":-32600,"message":"no such thread","data":{"at":1}}}')

    assert read == Failure("resume", -32600, "no such thread", {"at": 1})


@pytest.mark.parametrize("error", ["null", "7", '"no"', "{}", '{"code":"x","message":7}', '{"code":1e999}'])
def test_an_error_of_a_strange_shape_is_still_a_failure(peer, error):
    peer.request("x", {}, "x")

    read = peer.read(f'{{"id":1,"error":{error}}}')

    assert isinstance(read, Failure)
    assert (read.purpose, read.code) == ("x", jsonrpc.INTERNAL_ERROR)


def test_an_answer_counts_once(peer):
    peer.request("x", {}, "x")
    peer.read('{"id":1,"result":{}}')

    assert peer.read('{"id":1,"result":{}}') == Stray(1)
    assert peer.read('{"id":null,"error":{"code":-32700,"message":"parse error"}}') == Stray(None)


@pytest.mark.parametrize("name", [0, 7, "r-1", -3])
def test_a_request_of_the_agent_is_answered_under_its_own_id(peer, name):
    read = peer.read(json.dumps({"id": name, "method": "fs/read", "params": {"path": "x"}}))

    assert read == Request(name, "fs/read", {"path": "x"})
    assert sent(peer.result(name, {"ok": 1})) == {"id": name, "result": {"ok": 1}}
    refusal = {"code": jsonrpc.METHOD_NOT_FOUND, "message": "no"}
    assert sent(peer.failure(name, jsonrpc.METHOD_NOT_FOUND, "no")) == {"id": name, "error": refusal}


def test_a_notification_is_told_with_its_params(peer):
    assert peer.read('{"method":"item/started","params":{"item":{}}}') == Notification("item/started", {"item": {}})
    assert peer.read('{"method":"bell"}') == Notification("bell", {})
    assert peer.read('{"method":"bell","params":[1,2]}') == Notification("bell", {})


def test_versioned_messages_say_so_and_both_sorts_are_read(peer):
    versioned: Peer[str] = Peer(versioned=True)

    assert sent(versioned.notify("exit", {})) == {"jsonrpc": "2.0", "method": "exit", "params": {}}
    assert sent(peer.notify("exit", {})) == {"method": "exit", "params": {}}
    for each in (versioned, peer):
        assert each.read('{"jsonrpc":"2.0","method":"bell"}') == each.read('{"method":"bell"}')


@pytest.mark.parametrize(
    "line",
    [
        *ODD_LINES,
        '{"id":1}',
        '{"id":true,"method":"x"}',
        '{"id":1.5,"method":"x"}',
        '{"id":[],"result":{}}',
        '{"method":7}',
        json.dumps({"id": "x" * 201, "method": "x"}),
        json.dumps({"id": 2**70, "method": "x"}),
        json.dumps({"id": True, "result": {}}),
    ],
)
def test_what_is_no_message_is_malformed_and_does_no_harm(peer, line):
    peer.request("x", {}, "x")

    assert peer.read(line) == Malformed()
    assert peer.awaits("x")


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ('{"method":"ask","id":3,"params":{"diff":"aaa', Request(3, "ask", {})),
        ('{ "id" : 3 , "method" : "ask", "params": {"id": 9, "x": ["a', Request(3, "ask", {})),
        ('{"jsonrpc":"2.0","method":"turn/completed","params":{"turn":{"id":"t","items":[', None),
        ('{"method":"turn/completed","params":{}, "emitted', Notification("turn/completed", {})),
        ('{"id":1,"result":{"thread":{"turns":[{"id":', Result("x", {})),
        ('{"id":1,"error":{"message":"very long', Failure("x", jsonrpc.INTERNAL_ERROR, "")),
        ('{"id":8,"result":{"thread', Stray(8)),
        ('{"params":{"id":3,"method":"ask"', Malformed()),
        ('{"method":"as', Malformed()),
        ('["method', Malformed()),
        ("", Malformed()),
    ],
)
def test_of_a_line_that_was_cut_it_is_known_who_speaks(peer, line, meaning):
    peer.request("x", {}, "x")

    assert peer.read_cut(line) == (meaning or Notification("turn/completed", {}))


def test_no_line_whole_or_cut_makes_it_raise(peer):
    chance = random.Random(7)
    corpus = [
        '{"id":1,"result":{"thread":{"id":"t"}}}',
        '{"method":"item/requestApproval","id":0,"params":{"itemId":"call_1","changes":[{"path":"a","diff":"b"}]}}',
        '{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"no"}}',
    ]

    for _ in range(5_000):
        peer.request("x", {}, "x")
        peer.read(mutate(chance, corpus))
        peer.read_cut(mutate(chance, corpus))


def test_requests_that_are_never_answered_take_no_more_memory_than_a_bounded_number(peer):
    for number in range(jsonrpc.MAX_PENDING):
        peer.request("x", {}, f"purpose {number}")
    tracemalloc.start()
    try:
        for number in range(20_000):
            peer.request("x", {}, f"purpose {number}")
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert grown < 200_000
    assert not peer.awaits("purpose 0")
    assert peer.awaits("purpose 19999")
