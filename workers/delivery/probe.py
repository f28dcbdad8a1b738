"""The delivery process's own HTTP: /healthz, /readyz and /metrics, for probes and Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is away. Anything missing means not ready; warnings only slow deliveries."""

    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@asynccontextmanager
async def probe(host: str, port: int, readiness: Callable[[], Readiness]) -> AsyncIterator[int]:
    """Serve while open; the port it listens on (0 takes a free one).

    Raises:
        OSError: the address cannot be listened on.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        now = readiness()
        body = {"ready": not now.missing, "missing": list(now.missing), "warnings": list(now.warnings)}
        return web.json_response(body, status=503 if now.missing else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        # Of several addresses a name may have, all get the same port or none.
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
