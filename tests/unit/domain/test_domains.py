"""Lists of domains are read strictly, kept in one spelling, and matched by whole labels and ports."""

from __future__ import annotations

import pytest

from shared.domain import domains
from shared.domain.domains import AllowList
from shared.domain.errors import InvalidField


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Example.ORG.", "example.org"),
        ("*.example.org:8080", "*.example.org:8080"),
        ("example.org:443", "example.org:443"),
        ("b\u00fccher.de", "xn--bcher-kva.de"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("\u24d4xample.org", "example.org"),
        ("\u4f8b\u3048\u3002\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah"),
        ("gitea", "gitea"),
        ("_x.a-b.1a.example", "_x.a-b.1a.example"),
    ],
)
def test_an_entry_has_one_spelling(text, kept):
    assert str(domains.read(text)) == kept


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.1", "0", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "1.2.3.4.", "a.0xff", "0x."),
        *("\u2460\u2461\u2466.0.0.1", "[::1]", "::1", "::ffff:127.0.0.1", "fe80::1%lo", "[::1]:80", "10.0.0.1:443"),
        *("", ".", "a..b", ".a", "-a.b", "a-.b", "a b.org", "a\n.org", "a.org\n", "a\0.org", "exa%6dple.org"),
        *(
            "user@example.org",
            "http://example.org",
            "example.org/x",
            "example.org\\x",
            "example.org#",
            "a" * 64 + ".org",
        ),
        *("a." * 127 + "org", "fa\u00df.de", "a\u200db.org", "\ud800.org"),
        *("*", "*.", "*.com", "a*b.org", "a.*.org", "**.org", "*.*.org", "*.127.0.0.1"),
        *(
            "example.org:",
            "example.org:0",
            "example.org:65536",
            "example.org:+80",
            "example.org:\u0663",
            "example.org:80:80",
        ),
    ],
)
def test_what_is_no_domain_is_refused_and_named(text):
    with pytest.raises(InvalidField) as refused:
        domains.check(["fine.example.org", text], "allowed_domains")

    assert refused.value.facts["field"] == "allowed_domains[1]"


def test_a_list_is_kept_without_repetitions_in_its_order():
    assert domains.check(["B.org", "a.org", "b.org."], "x") == ("b.org", "a.org")


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("exact.org", 80, True),
        ("exact.org", 443, True),
        ("exact.org", 8080, False),
        ("a.exact.org", 443, False),
        ("exact.org.evil.net", 443, False),
        ("notexact.org", 443, False),
        ("a.wide.org", 443, True),
        ("a.b.wide.org", 80, True),
        ("wide.org", 443, False),
        ("awide.org", 443, False),
        ("port.org", 8443, True),
        ("port.org", 443, False),
        ("x.port.net", 9000, True),
        ("x.port.net", 80, False),
        ("org", 443, False),
    ],
)
def test_names_match_by_whole_labels_and_ports(host, port, allowed):
    listed = AllowList.read(["exact.org", "*.wide.org", "port.org:8443", "*.port.net:9000"])

    assert listed.allows(host, port) is allowed


def test_what_a_human_allows_opens_both_usual_ports_or_the_one_asked_for():
    assert str(domains.entry_for("example.org", 443)) == "example.org"
    assert str(domains.entry_for("example.org", 8080)) == "example.org:8080"
