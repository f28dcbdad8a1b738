"""No spelling of an address inside gets through: 60 and more of them, names that lie, and names that change."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Self

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.addresses import AddressRules, target
from shared.domain.webhook import AttemptOutcome
from workers.delivery.send import Answer, Sender, open_session

SPELLINGS = """
127.0.0.1 127.0.0.2 127.255.255.254 127.1 127.0.1 0x7f.1 0x7f.0.0.1 0x7f000001 0177.0.0.1 0177.1 017700000001
2130706433 0 0.0.0.0 0.0.0.1 00000177.0.0.1 127.0x0.0.1 127.0.0.01 ①②⑦.0.0.1 \uff11\uff12\uff17.0.0.1 127。0。0。1
localhost LOCALHOST localhost. ip6-localhost
[::1] [0:0:0:0:0:0:0:1] [0000::1] [::] [::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1] [::ffff:7f00:1]
[0:0:0:0:0:ffff:127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::a9fe:a9fe]
[64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:7f00:1::] [fe80::1] [fe80::1%25lo] [fec0::1]
[fc00::1] [fd00:ec2::254] [ff02::1] [2001:db8::1] [3fff::1] [5f00::1] [100::1]
169.254.169.254 [::ffff:169.254.169.254] 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518 169.254.170.2
168.63.129.16 100.100.100.200 100.64.0.1 192.0.0.192 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255
192.168.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255
"""
ENCODINGS = SPELLINGS.split()


class Canary:
    """Listens on the loopback of both families; nobody may come."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._visit)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        if socket.has_ipv6:
            # A machine without IPv6: the other family is guard enough.
            with contextlib.suppress(OSError):
                await web.TCPSite(self._runner, "::1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _visit(self, request: web.Request) -> web.Response:
        self.visits.append(request.path)
        return web.Response(text="inside")


class LyingResolver(AbstractResolver):
    """Says what it is told; of several answers each time the next one."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        address = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        is_v6 = ":" in address
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if is_v6 else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None:
        """Nothing is open."""


def rules(port: int, *, allow: tuple[str, ...] = ()) -> AddressRules:
    return AddressRules.read(allow, [str(port)])


async def post(url: str, allowed: AddressRules, resolver: AbstractResolver | None = None) -> Answer:
    async with open_session(allowed, resolver) as session:
        return await Sender(session, timeout_s=3.0).post(url, {}, b"{}")


def test_there_are_at_least_sixty_spellings():
    assert len(set(ENCODINGS)) >= 60


def test_no_spelling_of_an_address_inside_reaches_it():
    async def scenario() -> tuple[list[str], dict[str, str]]:
        async with Canary() as canary:
            answers = {
                host: await post(f"http://{host}:{canary.port}/{number}", rules(canary.port))
                for number, host in enumerate(ENCODINGS)
            }
            return canary.visits, {host: answer.outcome for host, answer in answers.items()}

    visits, outcomes = asyncio.run(scenario())

    assert not visits
    assert set(outcomes.values()) <= {AttemptOutcome.REFUSED, AttemptOutcome.UNREACHABLE}
    # Refused at our own socket, not merely unreachable on this machine; the rest aiohttp or the resolver turned down.
    assert sum(outcome is AttemptOutcome.REFUSED for outcome in outcomes.values()) >= 55


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1"])
def test_a_name_that_leads_inside_is_refused_at_the_socket(address):
    async def scenario() -> tuple[Answer, list[str]]:
        async with Canary() as canary:
            url = f"http://innocent.example:{canary.port}/"
            return await post(url, rules(canary.port), LyingResolver(address)), canary.visits

    answer, visits = asyncio.run(scenario())

    assert answer.outcome is AttemptOutcome.REFUSED
    assert not visits


def test_a_name_that_leads_elsewhere_the_second_time_is_refused_then():
    async def scenario() -> tuple[AttemptOutcome, list[str]]:
        async with Canary() as canary:
            allowed = rules(canary.port)
            resolver = LyingResolver("93.184.216.34", "127.0.0.1")
            # What was judged at creation is judged again: the answer of then counts for nothing.
            first = await resolver.resolve("rebind.example")
            assert allowed.refusal(first[0]["host"], canary.port) is None
            answer = await post(f"http://rebind.example:{canary.port}/", allowed, resolver)
            return answer.outcome, canary.visits

    assert asyncio.run(scenario()) == (AttemptOutcome.REFUSED, [])


def test_a_redirect_to_an_address_inside_is_not_followed():
    async def scenario() -> tuple[int | None, list[str]]:
        async with Canary() as canary:

            async def redirect(_: web.Request) -> web.Response:
                raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{canary.port}/stolen")

            application = web.Application()
            application.router.add_post("/", redirect)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            answer = await post(f"http://127.0.0.1:{port}/", rules(1, allow=("127.0.0.0/8",)))
            await runner.cleanup()
            return answer.status_code, canary.visits

    assert asyncio.run(scenario()) == (307, [])


def test_the_environments_proxy_is_not_used(monkeypatch):
    async def scenario() -> tuple[Answer, list[str]]:
        async with Canary() as canary:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{canary.port}")
            answer = await post("http://192.0.2.1/", AddressRules.read((), ("80",)))
            return answer, canary.visits

    answer, visits = asyncio.run(scenario())

    assert answer.outcome is AttemptOutcome.REFUSED
    assert not visits


def test_the_operator_may_allow_a_network_with_any_port():
    async def scenario() -> tuple[AttemptOutcome, list[str]]:
        async with Canary() as canary:
            url = f"http://127.0.0.1:{canary.port}/hook"
            answer = await post(url, AddressRules.read(("127.0.0.0/8",), ("443",)))
            return answer.outcome, canary.visits

    assert asyncio.run(scenario()) == (AttemptOutcome.DELIVERED, ["/hook"])


def test_an_allowed_network_is_found_under_its_mapped_spelling_too():
    allowed = AddressRules.read(("10.1.0.0/16",), ("443",))

    assert allowed.refusal("::ffff:10.1.2.3", 5678) is None
    assert allowed.refusal("::ffff:10.2.2.3", 443)


def test_public_addresses_take_the_listed_ports_only():
    allowed = AddressRules.read((), ("80", "443"))

    assert allowed.refusal("93.184.216.34", 443) is None
    assert allowed.refusal("2606:4700::1111", 80) is None
    assert "CORRAL_WEBHOOK_PORTS" in (allowed.refusal("93.184.216.34", 6379) or "")


@given(st.one_of(st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=6, network="fc00::/7")))
def test_no_private_address_is_taken_for_public(address):
    assert AddressRules.read((), ("443",)).refusal(str(address), 443)


@given(st.text())
def test_no_text_for_an_address_raises_or_passes(text):
    assert AddressRules.read((), ("443",)).refusal(text, 443) or text.replace(":", "").replace(".", "").isalnum()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://:pw@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:http/",
        "https://exa mple.com/",
        "https://example.com/\nx",
        "https://example.com\\@127.0.0.1/",
        "http://[::1/",
        "https://example.com/" + "x" * 2048,
        "https://example.com/\x00",
    ],
)
def test_a_url_no_webhook_may_have_is_refused_before_any_resolving(url):
    with pytest.raises(ValueError, match=r"must|holds|names|longer|cannot"):
        target(url)


@given(st.text())
def test_no_url_raises_anything_but_a_refusal(text):
    for url in (text, f"https://{text}"):
        with contextlib.suppress(ValueError):
            assert target(url).host


@pytest.mark.parametrize(
    ("allow", "ports", "named"),
    [(("10.0.0.0/33",), ("80",), "WEBHOOK_ALLOW"), (("10.1.2.3/8",), ("80",), "WEBHOOK_ALLOW"), ((), ("0",), "PORTS")],
)
def test_rules_that_cannot_be_read_are_refused_by_name(allow, ports, named):
    with pytest.raises(ValueError, match=named):
        AddressRules.read(allow, ports)
