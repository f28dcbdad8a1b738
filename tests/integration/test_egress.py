"""An agent's proxy against a canary: whatever form a request takes, only what was listed or allowed is reached."""

from __future__ import annotations

import asyncio

import pytest

from shared.domain.domains import AllowList
from shared.domain.session import Mode
from tests.fixtures.egress import ALLOW, CANARY, DENY, GOOD, Talk, gate, proxied, said, serving
from workers.host.egress import relay
from workers.host.egress.policy import Policy
from workers.host.egress.request import Authority

pytestmark = pytest.mark.timeout(60)

NAMES = {
    "allowed.test": [[GOOD]],
    "a.wide.test": [[GOOD]],
    "rebinds.test": [[GOOD], [CANARY]],
    "both.test": [[CANARY, GOOD]],
    "mapped.test": [[f"::ffff:{CANARY}"]],
    "inside.test": [[CANARY]],
    "six.test": [["::1"]],
    "link.test": [["fe80::1%lo", "169.254.169.254"]],
    "private.test": [["10.0.0.5", "fd00::1", "64:ff9b::7f00:1", "0.0.0.0"]],
    "nat.test": [["2002:7f00:1::"]],
    "evil.test": [[CANARY]],
    "wide.test": [[CANARY]],
    "a.b.evil.test": [[CANARY]],
    "allowed.test.evil.test": [[CANARY]],
    "localhost": [[CANARY]],
}
LISTED = ("allowed", "*.wide", "rebinds", "both", "mapped", "inside", "six", "link", "private", "nat", "gone")


def get(target: str, *headers: str, method: str = "GET", body: str = "") -> str:
    return "\r\n".join([f"{method} {target} HTTP/1.1", *headers, "", body])


def connect(target: str, *headers: str) -> str:
    return "\r\n".join([f"CONNECT {target} HTTP/1.1", *headers, "", ""])


OK = {
    "a listed name": get("http://allowed.test:PORT/x"),
    "in capitals and with a dot": get("http://ALLOWED.test.:PORT/", "Host: allowed.TEST.:PORT"),
    "beneath a star": get("http://a.wide.test:PORT/"),
    "through a tunnel": connect("allowed.test:PORT"),
    "through a tunnel whose Host lies": connect("allowed.test:PORT", "Host: evil.test:PORT"),
    "with a body": get("http://allowed.test:PORT/", "Content-Length: 5", method="POST", body="hello"),
    "in chunks": get(
        "http://allowed.test:PORT/", "Transfer-Encoding: chunked", method="POST", body="5;x=y\r\nhello\r\n0\r\n\r\n"
    ),
    "a name that is judged anew, first": get("http://rebinds.test:PORT/"),
    "of two addresses the allowed one": get("http://both.test:PORT/"),
    "a question mark that hides a name": get("http://allowed.test:PORT?@evil.test:PORT/"),
}
BLOCKED = {
    **{
        f"a name not listed, {method}": get("http://evil.test:PORT/", method=method)
        for method in ("GET", "POST", "TRACE")
    },
    "through a tunnel": connect("evil.test:PORT"),
    "the parent of a star": get("http://wide.test:PORT/"),
    "a listed name as a label": connect("allowed.test.evil.test:PORT"),
    "another port": connect("allowed.test:1"),
    "the usual port where another is listed": connect("allowed.test:443"),
    "localhost": connect("localhost:PORT"),
    **{
        f"the address {spelt}": connect(f"{spelt}:PORT")
        for spelt in (
            *("127.0.0.1", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"),
            *("127.0.0.1.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "10.0.0.5"),
        )
    },
    "an address in a URL": get("http://127.0.0.1:PORT/"),
    "an address of six in a URL": get("http://[::1]:PORT/"),
    "a number in a URL": get("http://2130706433:PORT/"),
    **{
        f"{name} behind a listed name": connect(f"{name}.test:PORT")
        for name in ("inside", "mapped", "six", "link", "private", "nat")
    },
    "a name that is judged anew, again": get("http://rebinds.test:PORT/"),
}
BAD = {
    "a user before a host": get("http://allowed.test@evil.test:PORT/"),
    "a password before a host": get("http://allowed.test:80@evil.test:PORT/"),
    "a user in a tunnel": connect("allowed.test@evil.test:PORT"),
    "a backslash": get("http://evil.test:PORT\\@allowed.test:PORT/"),
    "a fragment": get("http://evil.test:PORT#@allowed.test:PORT/"),
    "percent in a host": get("http://allowed%2etest:PORT/"),
    "a zone": connect("[fe80::1%25lo]:PORT"),
    "two Hosts": get("http://allowed.test:PORT/", "Host: allowed.test:PORT", "Host: evil.test:PORT"),
    "a Host that differs": get("http://allowed.test:PORT/", "Host: evil.test:PORT"),
    "a Host with another port": get("http://allowed.test:PORT/", "Host: allowed.test:1"),
    "a path alone": get("/", "Host: allowed.test:PORT"),
    "https without a tunnel": get("https://allowed.test:PORT/"),
    "another scheme": get("ftp://evil.test:PORT/"),
    "a tunnel without a port": connect("allowed.test"),
    "a port with a sign": connect("allowed.test:+80"),
    "a port beyond all": connect("allowed.test:65616"),
    "a tunnel to a URL": connect("http://evil.test:PORT/"),
    "connect in small letters": get("evil.test:PORT", method="connect"),
    "a body before a tunnel": connect("allowed.test:PORT", "Content-Length: 5"),
    "two lengths": get(
        "http://allowed.test:PORT/", "Content-Length: 5", "Content-Length: 6", method="POST", body="hello!"
    ),
    "a length and chunks": get(
        "http://allowed.test:PORT/", "Content-Length: 5", "Transfer-Encoding: chunked", body="0\r\n\r\n"
    ),
    "chunks spelt strangely": get(
        "http://allowed.test:PORT/", "Transfer-Encoding: xchunked", method="POST", body="0\r\n\r\n"
    ),
    "a length with a sign": get("http://allowed.test:PORT/", "Content-Length: +5", method="POST", body="hello"),
    "a space before a colon": get("http://allowed.test:PORT/", "Host : evil.test"),
    "a folded header": get("http://allowed.test:PORT/", "X: a", " Host: evil.test"),
    "a bare line feed": get("http://allowed.test:PORT/", "X: a\nHost: evil.test"),
    "a bare return": get("http://allowed.test:PORT/", "X: a\rHost: evil.test"),
    "NUL": get("http://allowed.test:PORT/", "X: a\0"),
    "two spaces": "GET  http://evil.test:PORT/ HTTP/1.1\r\n\r\n",
    "a tab": "GET\thttp://evil.test:PORT/ HTTP/1.1\r\n\r\n",
    "another version": "GET http://evil.test:PORT/ HTTP/2.0\r\n\r\n",
    "none": "GET http://evil.test:PORT/\r\n\r\n",
    "letters beyond ASCII": get("http://\u0435vil.test:PORT/"),
    "a head without an end": get("http://allowed.test:PORT/", *(f"X-{n}: {'x' * 1000}" for n in range(70))),
}
SMUGGLED = {
    "a second request": get("http://allowed.test:PORT/", body=get("http://evil.test:PORT/", "Host: evil.test:PORT")),
    "a second one behind a body": get(
        "http://allowed.test:PORT/", "Content-Length: 5", method="POST", body="hello" + get("/", "Host: evil.test")
    ),
    "one behind chunks": get(
        "http://allowed.test:PORT/",
        "Transfer-Encoding: chunked",
        body="0\r\nX: y\r\n\r\n" + get("/", "Host: evil.test"),
    ),
    "an upgrade": get("http://allowed.test:PORT/", "Connection: Upgrade, X-Hop", "Upgrade: h2c", "X-Hop: 1"),
    "credentials for the proxy": get("http://allowed.test:PORT/", "Proxy-Authorization: Basic x", "Keep-Alive: 9"),
}


def test_no_form_of_a_request_reaches_what_is_not_listed():
    async def story():
        async with serving(GOOD) as good, serving(CANARY, good.port) as canary:
            listed = AllowList.read(f"{name}.test:{good.port}" for name in LISTED)
            talk, told = Talk(Mode.BYPASS), []
            async with proxied(gate(talk, told, Policy(listed)), NAMES) as (port, *_):
                tables = {"200": OK, "403": BLOCKED, "400": BAD, "200 ": SMUGGLED}
                wrong = []
                for wanted, table in tables.items():
                    for form, request in table.items():
                        raw = request.replace("PORT", str(good.port)).encode()
                        tunnelled = raw.startswith(b"CONNECT") and wanted == "200"
                        answer = await said(port, raw, more=b"ping" if tunnelled else b"")
                        if answer.split(b" ")[1:2] != [wanted.strip().encode()]:
                            wrong.append((form, wanted, answer[:80]))
            return wrong, canary.heard, good.heard, talk.asked, told

    wrong, reached, good, asked, told = asyncio.run(story())

    assert wrong == []
    assert reached == []
    assert len(OK) + len(BLOCKED) + len(BAD) + len(SMUGGLED) >= 80
    assert len(good) == len(OK) + len(SMUGGLED)
    assert not any(b"host: evil.test" in heard.lower() for heard in good)
    # Of what came behind, nothing arrived; nor did words that were for the proxy.
    assert [heard.count(b"HTTP/1.1") for heard in good[len(OK) :]] == [1] * len(SMUGGLED)
    assert not any(
        word in b"".join(good[len(OK) :]).lower() for word in (b"upgrade", b"x-hop", b"basic", b"keep-alive")
    )
    assert asked == []
    assert {draft.type for fact in told for draft in fact.drafts} == {"notice"}
    assert len({(draft.data["host"], draft.data["port"]) for fact in told for draft in fact.drafts}) == len(told)


def test_what_the_operator_named_is_reached_wherever_it_is():
    async def story():
        async with serving(CANARY) as server:
            named = frozenset({Authority("127.0.0.1", server.port), Authority("model.internal", server.port)})
            talk = Talk(Mode.BYPASS)
            async with proxied(gate(talk, [], Policy(named=named)), {"model.internal": [[CANARY]]}) as (port, door):
                answers = [
                    await said(port, get(f"http://{host}:{server.port}/").encode())
                    for host in ("127.0.0.1", "model.internal", "127.0.0.2")
                ]
                answers.append(await said(door, b"ping", more=b"ping"))
            return [answer.split(b" ")[1] for answer in answers], len(server.heard)

    assert asyncio.run(story()) == ([b"200", b"200", b"403", b"200"], 3)


def test_a_request_waits_for_a_human_and_goes_on_when_allowed():
    async def story():
        async with serving(GOOD) as good:
            talk, told = Talk(), []
            opened = gate(talk, told)
            async with proxied(opened, {"new.test": [[GOOD]]}) as (port, *_), asyncio.TaskGroup() as tasks:
                request = get(f"http://new.test:{good.port}/").encode()
                both = [tasks.create_task(said(port, request)) for _ in range(2)]
                ask = (await talk.asks(1))[0]
                opened.answer(ask, ALLOW)
                answers = [await one for one in both]
                later = await said(port, request)
            return talk, told, answers, later, good.port

    talk, told, answers, later, port = asyncio.run(story())

    assert [answer.split(b" ")[1] for answer in (*answers, later)] == [b"200"] * 3
    (asked,) = talk.asked
    assert (asked.data["tool_name"], asked.data["input"]) == ("Network", {"domain": "new.test", "port": port})
    assert talk.applied == [asked.ref]
    assert told == []


def test_what_a_human_denied_stays_shut_and_is_not_asked_again():
    async def story():
        talk = Talk()
        opened = gate(talk, [])
        async with proxied(opened, {}) as (port, *_), asyncio.TaskGroup() as tasks:
            first = tasks.create_task(said(port, connect("new.test:443").encode()))
            opened.answer((await talk.asks(1))[0], DENY)
            return talk, await first, await said(port, get("http://new.test/").encode())

    talk, first, later = asyncio.run(story())

    assert first.startswith(b"HTTP/1.1 403")
    assert b"denied" in first
    assert later.startswith(b"HTTP/1.1 403")
    assert len(talk.asked) == 1


def test_a_request_that_waited_long_enough_is_told_to_come_again_while_the_ask_stays_open():
    async def story():
        talk = Talk()
        opened = gate(talk, [], hold_s=0.05)
        async with proxied(opened, {}) as (port, *_):
            first = await said(port, connect("new.test:443").encode())
            second = await said(port, connect("new.test:443").encode())
            return talk, first, second

    talk, first, second = asyncio.run(story())

    assert b"try again" in first
    assert second == first
    assert len(talk.asked) == len(talk.waiting()) == 1


def test_a_connection_over_which_nothing_goes_is_closed():
    async def story():
        async with serving(GOOD) as good:
            reader, writer = await asyncio.open_connection(GOOD, good.port)
            near = await asyncio.open_connection(GOOD, good.port)
            try:
                await relay.Relay(near, (reader, writer), silence_s=0.05).tunnel()
            finally:
                writer.close()
                near[1].close()

    with pytest.raises(TimeoutError):
        asyncio.run(story())
