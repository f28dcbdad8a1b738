"""The API process: makes everything it needs from the settings and serves until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import structlog
import uvicorn

from api.auth import Keyring
from api.mcp import toolbox
from api.mcp.options import DoorOptions
from api.ratelimit import Limiter
from api.routes import Edge
from api.shell import Shell, ShellOptions
from shared.agents.registry import DRIVERS, REPORT_FORMS
from shared.channel.publisher import Publisher
from shared.channel.subscriber import Subscriber
from shared.domain import session
from shared.domain.addresses import AddressRules
from shared.operations.context import Context, Reporting
from shared.queue import Bell
from shared.redis import connect
from shared.settings.entry import SettingError
from shared.settings.reading import Settings
from shared.store.database import Database
from shared.store.sealing import Sealer
from shared.telemetry import logs
from shared.workspaces import signed
from shared.workspaces.registry import KINDS
from shared.workspaces.remote import RemoteFiles

log = structlog.get_logger(__name__)

_GRACE_S = 5
"""Requests under way may finish for this long after SIGTERM."""
_PING_S = 0.5


def run(settings: Settings) -> None:
    """Serve the API on the settings' host and port until SIGTERM or SIGINT.

    Raises:
        SystemExit: the port cannot be had.
    """
    logs.set_up(process="api", level=settings.core.log_level, form=settings.core.log_format)
    with opened(settings) as edge:
        shell = make_shell(edge, settings)
        server = Server(shell, settings.api.host, settings.api.port)
        log.info("api.started", host=settings.api.host, port=settings.api.port)
        server.run()
        log.info("api.stopped")


@contextmanager
def opened(settings: Settings) -> Iterator[Edge]:
    """Everything the API is made of, opened; closed in reverse."""
    core, api = settings.core, settings.api
    sealer = Sealer(core.secret_key)
    with ExitStack() as stack:
        # Each request and each tool holds one connection at a time; the feed has four threads of its own.
        database = Database(core.database_url, pool_size=api.threads + settings.mcp.threads + 4)
        stack.callback(database.close)
        files = RemoteFiles(signed.key_of(str(core.secret_key)))
        stack.callback(files.close)
        limiter = Limiter(core.redis_url, api.rate_limit)
        stack.callback(limiter.close)
        link_limiter = Limiter(core.redis_url, api.link_rate_limit)
        stack.callback(link_limiter.close)
        client = stack.enter_context(connect(core.redis_url, timeout_s=_PING_S))
        context = Context(
            db=database,
            sealer=sealer,
            publisher=stack.enter_context(Publisher(core.redis_url)),
            bell=stack.enter_context(Bell(core.redis_url)),
            limits=_limits(settings),
            queue_limit=settings.limits.queue,
            allow_bypass=settings.worker.allow_bypass,
            finds_transcripts=bool(settings.worker.attach_folders),
            holds_domains=settings.egress.is_listed,
            agents={name: driver.abilities for name, driver in DRIVERS.items()},
            kinds=KINDS,
            files=files,
            folders=tuple(Path(folder) for folder in settings.worker.allowed_folders),
            reporting=Reporting(REPORT_FORMS, scrubs=api.scrub_secrets, heartbeat_s=settings.limits.heartbeat_s),
            webhook_rules=AddressRules.read(settings.delivery.allow, settings.delivery.ports),
            models=settings.agent_models,
        )
        yield Edge(
            context,
            Keyring(database, sealer),
            limiter,
            client,
            link_limiter=link_limiter,
            public_url=_public_url(settings),
            metrics_open=api.metrics_open,
        )


def make_shell(edge: Edge, settings: Settings) -> Shell:
    """The ASGI application."""
    api = settings.api
    options = ShellOptions(
        threads=api.threads,
        body_limit=api.body_limit,
        hook_body_limit=api.hook_body_limit,
        file_limit=settings.files.file_limit,
        sse_limit=api.sse_limit,
        sse_heartbeat_s=api.sse_heartbeat_s,
        proxy_hops=api.proxy_hops,
        mcp=_mcp_options(settings),
    )
    return Shell(edge, partial(Subscriber, settings.core.redis_url), options)


class Server(uvicorn.Server):
    """uvicorn that ends the shell's streams first when it is told to stop."""

    def __init__(self, shell: Shell, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                shell,
                host=host,
                port=port,
                lifespan="on",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=1024,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._shell = shell

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking connections, let requests under way finish."""
        self._shell.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in good order; a second SIGINT does not wait. The signal is not raised again: stopping is no failure."""
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True


def _public_url(settings: Settings) -> str:
    api = settings.api
    host = "localhost" if api.host in {"0.0.0.0", "::", ""} else api.host  # noqa: S104 - read, not bound
    return (api.public_url or f"http://{f'[{host}]' if ':' in host else host}:{api.port}").rstrip("/")


def _mcp_options(settings: Settings) -> DoorOptions | None:
    mcp = settings.mcp
    if mcp.tools == ("none",):
        return None
    try:
        tools = toolbox.chosen(mcp.tools)
    except ValueError as problem:
        raise SettingError(f"CORRAL_MCP_TOOLS: {problem}.") from problem
    public = urlsplit(settings.api.public_url)
    return DoorOptions(
        tools=tools,
        agent=mcp.agent,
        hosts=(*mcp.hosts, public.netloc) if public.netloc else mcp.hosts,
        origins=(*mcp.origins, f"{public.scheme}://{public.netloc}") if public.netloc else mcp.origins,
        threads=mcp.threads,
        streams=mcp.streams,
        body_limit=settings.api.body_limit,
    )


def _limits(settings: Settings) -> session.Limits:
    named = settings.limits
    return session.Limits(idle_s=named.idle_s, lifetime_s=named.lifetime_s, turn_s=named.turn_s, start_s=named.start_s)
