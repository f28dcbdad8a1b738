"""An API for the conformance suite, which sends no key: a front adds one, and nothing else is different."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from api import asgi
from shared.settings import reading as settings
from tests.fixtures.api import listening, make_key
from tests.fixtures.seeds import SECRET_KEY
from tests.fixtures.waiting import eventually


class WithKey:
    """The shell for callers that send no key."""

    def __init__(self, shell, key):
        self._shell = shell
        self._header = (b"authorization", f"Bearer {key}".encode())
        self.close = shell.close

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], self._header]}
        await self._shell(scope, receive, send)


@pytest.fixture
def open_url(sqlite_url: str, valkey_url: str) -> Iterator[str]:
    """Where the API is."""
    read = settings.read(
        {
            "CORRAL_DATABASE_URL": sqlite_url,
            "CORRAL_REDIS_URL": valkey_url,
            "CORRAL_SECRET_KEY": SECRET_KEY,
            "CORRAL_RATE_LIMIT": "0",
            "CORRAL_MCP_TOOLS": "corral,poke",
        }
    )
    with asgi.opened(read) as edge, listening() as listener:
        server = asgi.Server(WithKey(asgi.make_shell(edge, read), make_key(edge)), "127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api")
        thread.start()
        try:
            eventually(lambda: server.started, about="the API")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(15)
            assert not thread.is_alive(), "the API did not stop"
