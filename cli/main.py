"""The `corral` command. Heavy parts are imported by the command that needs them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from cli import home as homes
from cli import hooks, sessions
from cli.edge import Edge
from cli.options import home_option, load_settings, port_option
from cli.secrecy import hide_from_agents
from shared.domain.ids import is_id
from shared.settings.reading import Settings, read_dotenv


@click.group(
    cls=Edge,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Settings are CORRAL_* environment variables or lines of .env. Exit status: 0 done, 1 refused or failed"
    " (one line on stderr says why), 2 the command line is wrong, 130 left by Ctrl-C; `status` has 3 of its own.",
)
@click.version_option(package_name="corral")
def main() -> None:
    """Run a fleet of coding agents behind one HTTP API."""


@main.command()
@home_option
@port_option
@click.option("--hide-key", is_flag=True, help="Do not print the API key; it is in DIR/api_key.")
def up(home_path: str, port: int | None, *, hide_key: bool) -> None:
    """Run everything on this machine, in the foreground.

    Where nothing is configured it brings its own Redis and SQLite. It prints the URL and, the first time, an API key,
    which is also in DIR/api_key. Ctrl-C stops it, a second one at once.
    """
    from cli import up as ups

    hide_from_agents()
    settings = load_settings()
    home = homes.open_home(home_path)
    with home.occupied():
        environ = {**read_dotenv(Path(".env")), **os.environ}
        plan = ups.make_plan(settings, home, environ, port)
        ups.require_port(plan)
        asyncio.run(ups.run(plan, settings, hide_key=hide_key))


@main.command()
def api() -> None:
    """Run the API process. Needs CORRAL_DATABASE_URL, CORRAL_REDIS_URL and CORRAL_SECRET_KEY."""
    from api import asgi

    hide_from_agents()
    asgi.run(require_database_unless_away(require(load_settings())))


@main.command()
def worker() -> None:
    """Run a worker process: it hosts sessions and their agents. Needs what `api` needs."""
    from workers import app

    hide_from_agents()
    sys.exit(app.run(require_database(require(load_settings()))))


@main.command()
def delivery() -> None:
    """Run the webhook delivery process. Needs what `api` needs."""
    from shared.telemetry import logs
    from workers.delivery import app

    hide_from_agents()
    settings = require_database_unless_away(require(load_settings()))
    logs.set_up(process="delivery", level=settings.core.log_level, form=settings.core.log_format)
    sys.exit(app.run(app.configure(settings)))


@main.command()
def migrate() -> None:
    """Bring the database of CORRAL_DATABASE_URL up to this release.

    Safe to repeat, to run by several at once, and while the last release serves.
    """
    from shared.domain.errors import Unavailable
    from shared.store.migrate import upgrade

    settings = load_settings()
    if not settings.core.database_url:
        raise click.ClickException("CORRAL_DATABASE_URL is not set: say which database to migrate.")
    try:
        upgrade(settings.core.database_url)
    except Unavailable as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo("The database is at this release.")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the process.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the process (CORRAL_API_PORT where not given).")
@click.option("--path", default="/readyz", show_default=True, help="What to ask for.")
def probe(host: str, port: int | None, path: str) -> None:
    """Ask a process whether it is ready (health checks).

    Exit status 0 where it answers 200, else 1.
    """
    from cli.supervisor import answers

    sys.exit(0 if asyncio.run(answers(host, port or load_settings().api.port, path)) else 1)


@main.command()
@home_option
@port_option
def start(home_path: str, port: int | None) -> None:
    """Run everything on this machine, in the background."""
    from cli import background

    home = homes.open_home(home_path)
    url = background.start(home, port)
    click.echo(f"Corral is up at {url}. The API key is in {home.api_key}, the log is {home.log}.")


@main.command()
@home_option
def status(home_path: str) -> None:
    """Say what runs on this home; exit status 3 where nothing does."""
    from cli import background

    told = background.status(homes.find_home(home_path))
    click.echo(told or "not running")
    sys.exit(0 if told else 3)


@main.command()
@home_option
def shutdown(home_path: str) -> None:
    """Stop what runs on this home.

    Ends a `corral start` or a `corral up`, and waits until it is gone.
    """
    from cli import background

    click.echo("stopped" if background.shutdown(homes.find_home(home_path)) else "was not running")


@main.command()
@home_option
@port_option
def restart(home_path: str, port: int | None) -> None:
    """Stop it and start it again, in the background.

    On the same port unless told otherwise.
    """
    from cli import background

    home = homes.open_home(home_path)
    port = port or background.port_of(home)
    background.shutdown(home)
    click.echo(f"Corral is up at {background.start(home, port)}.")


@main.command()
def config() -> None:
    """Ask for what is not set and write it to .env.

    The file is readable by you alone (mode 0600); what stands in it stays. Empty answers leave a setting out.
    """
    from cli import admin

    added = admin.configure(Path(".env"), os.environ)
    click.echo(f"Wrote {', '.join(added)} to .env." if added else "Nothing was added.")


@main.command()
@home_option
def doctor(home_path: str) -> None:
    """Say what is ready, what is missing and how to get it.

    Exit status 1 where something is missing that Corral cannot do without; warnings alone are 0. Changes nothing.
    """
    from cli import doctor as doctors

    sys.exit(0 if doctors.report(load_settings(), homes.find_home(home_path)) else 1)


@main.group()
def key() -> None:
    """Administer API keys."""


@key.command("create")
@home_option
@click.option("--name", default="made on the command line", show_default=True, help="What `GET /v1/keys` calls it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "admin"]),
    default=("read", "write"),
    show_default=True,
    help="What it may do; may be given more than once.",
)
@click.option("--tenant", help="Tenant id (ten_…); made where it is missing.")
def create_key(home_path: str, name: str, scopes: tuple[str, ...], tenant: str | None) -> None:
    """Make an API key and print it. It is shown only now.

    Works on the database of CORRAL_DATABASE_URL, else on that of the home.
    """
    from cli import admin
    from cli import up as ups
    from shared.domain.tenant import Scope

    if tenant is not None and not is_id(tenant, "ten"):
        raise click.BadParameter("a tenant id begins with ten_ and goes on with lower-case letters and digits")
    # A home is looked at, never made: a container's disk may be read-only, and a new secret key would fit nothing.
    settings = ups.fill_in(load_settings(), homes.find_home(home_path))
    click.echo(admin.create_key(settings, name=name, scopes=frozenset(Scope(scope) for scope in scopes), tenant=tenant))


def require(settings: Settings) -> Settings:
    """The settings, once those a single process cannot do without are there.

    Raises:
        ClickException: names what is missing.
    """
    core = settings.core
    named = {
        "CORRAL_DATABASE_URL": core.database_url,
        "CORRAL_REDIS_URL": core.redis_url,
        "CORRAL_SECRET_KEY": core.secret_key,
    }
    missing = [name for name, value in named.items() if not value]
    if missing:
        raise click.ClickException(f"{', '.join(missing)} must be set. `corral up` fills them in for one machine.")
    return settings


def require_database(settings: Settings) -> Settings:
    """The settings, once their database has what this release needs.

    Raises:
        DatabaseOutdated: it is to be migrated first.
        DatabaseAway: it cannot be reached.
    """
    from shared.store import migrate

    migrate.require_current(settings.core.database_url)
    return settings


def require_database_unless_away(settings: Settings) -> Settings:
    """The same for a process that waits for its database to come back."""
    from shared.store.database import DatabaseAway

    with suppress(DatabaseAway):
        require_database(settings)
    return settings


for command in (sessions.run, sessions.listed, sessions.logs, sessions.terminate, hooks.hooks):
    main.add_command(command)


if __name__ == "__main__":
    main()
