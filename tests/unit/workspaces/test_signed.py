"""Only who holds the secret may ask a worker for files, and only for the moment he asks."""

from __future__ import annotations

import pytest

from shared.domain.errors import Unauthenticated
from shared.workspaces import signed

KEY = signed.key_of("a secret of at least thirty-two characters")
TARGET = "/files?session=ses_1&op=read&path=a%2Fb"
NOW = 1_800_000_000.0


def test_a_signed_request_is_taken_for_a_minute_either_way():
    headers = signed.sign(KEY, "GET", TARGET, at=NOW)

    for later in (-60, 0, 60):
        signed.verify(KEY, "GET", TARGET, headers, at=NOW + later)


@pytest.mark.parametrize("later", [-62, 62, 10_000_000])
def test_a_request_of_another_time_is_refused(later):
    with pytest.raises(Unauthenticated, match="too old"):
        signed.verify(KEY, "GET", TARGET, signed.sign(KEY, "GET", TARGET, at=NOW), at=NOW + later)


@pytest.mark.parametrize(
    ("method", "target", "key"),
    [
        ("POST", TARGET, KEY),
        ("GET", TARGET + "x", KEY),
        ("GET", TARGET.replace("read", "list"), KEY),
        ("GET", TARGET, signed.key_of("another secret of thirty-two characters")),
        ("GET", TARGET, b"a secret of at least thirty-two characters"),
    ],
)
def test_a_signature_holds_for_one_request_and_one_fleet(method, target, key):
    with pytest.raises(Unauthenticated):
        signed.verify(key, method, target, signed.sign(KEY, "GET", TARGET, at=NOW), at=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {signed.TIME_HEADER: ""},
        {signed.TIME_HEADER: "yesterday"},
        {signed.TIME_HEADER: "-5"},
        {signed.TIME_HEADER: "\u0661\u0662"},
        {signed.TIME_HEADER: "9" * 5000},
        {signed.TIME_HEADER: str(int(NOW) + 1)},
        {signed.SIGNATURE_HEADER: ""},
        {signed.SIGNATURE_HEADER: "\xe9\ud800"},
    ],
)
def test_a_header_that_was_changed_is_refused(change):
    with pytest.raises(Unauthenticated):
        signed.verify(KEY, "GET", TARGET, signed.sign(KEY, "GET", TARGET, at=NOW) | change, at=NOW)


def test_without_headers_a_request_is_refused():
    with pytest.raises(Unauthenticated):
        signed.verify(KEY, "GET", TARGET, {})
