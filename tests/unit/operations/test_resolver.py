"""A slow server of names holds up a bounded number of threads, and no caller for long."""

from __future__ import annotations

import threading

from shared.domain.addresses import target
from shared.operations.webhook_targets import Resolver

WHERE = target("https://hooks.example.com/in")


def test_names_that_hang_take_no_more_threads_than_the_limit():
    released, asked = threading.Event(), []

    def hang(host, port, **_):
        asked.append(host)
        released.wait(30)
        return [(2, 1, 6, "", ("192.0.2.1", port))]

    resolver = Resolver(threads=2, within_s=0.05, getaddrinfo=hang)

    assert [resolver.addresses(WHERE) for _ in range(4)] == [[], [], [], []]
    assert len(asked) == 2
    released.set()
    assert Resolver(threads=1, within_s=30, getaddrinfo=hang).addresses(WHERE) == ["192.0.2.1"]


def test_a_thread_whose_name_was_not_found_is_free_again():
    def unknown(*_, **__):
        raise OSError

    resolver = Resolver(threads=1, within_s=30, getaddrinfo=unknown)

    assert [resolver.addresses(WHERE) for _ in range(3)] == [[], [], []]
