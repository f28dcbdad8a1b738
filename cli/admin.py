"""`corral config` and `corral key create`: what an operator sets up once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import click

from cli.home import write_private
from shared.agents.registry import DRIVERS
from shared.domain import clock
from shared.domain.ids import TenantId
from shared.domain.tenant import Scope
from shared.settings.entry import SettingError
from shared.settings.reading import Settings, read, read_dotenv
from shared.store import keys, tenants
from shared.store.database import Database
from shared.store.migrate import is_current
from shared.store.sealing import Sealer
from workers.host.locate import command_of

_QUESTIONS: Final = {
    "CORRAL_DATABASE_URL": "Database URL (empty: SQLite under the home directory)",
    "CORRAL_REDIS_URL": "Redis URL (empty: an embedded one)",
    "CORRAL_API_PORT": "Port of the API (empty: 8420)",
    "CORRAL_WORKER_CAPACITY": "Sessions a worker may host at once (empty: 10)",
    "CORRAL_ALLOWED_FOLDERS": "Existing folders agents may work in, comma separated (empty: none)",
    "CHILD_ENV_ANTHROPIC_API_KEY": "Anthropic API key for Claude Code (empty: none)",
}


def configure(path: Path, environ: Mapping[str, str]) -> list[str]:
    """Ask for what is not set yet and write `.env`, mode 0600; the names that were added.

    Nothing is written before the last answer. What stands in the file stays as it is.
    """
    present = {**read_dotenv(path), **environ}
    added = {name: answer for name, question in _questions(present).items() if (answer := _ask(name, question))}
    if "CORRAL_SECRET_KEY" not in present and "CORRAL_DATABASE_URL" in added:
        # Several machines need one key; a single one keeps its own under the home directory.
        added["CORRAL_SECRET_KEY"] = secrets.token_urlsafe(48)
    if added:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = "".join(f"{name}={value}\n" for name, value in added.items())
        write_private(path.resolve(), before + ("" if before.endswith("\n") or not before else "\n") + lines)
    return list(added)


def _questions(present: Mapping[str, str]) -> dict[str, str]:
    programs = {
        f"CORRAL_{driver.name.upper()}_COMMAND": f"Program of the agent {driver.name}, not on PATH (empty: do without)"
        for driver in DRIVERS.values()
        if command_of(driver, {}) is None
    }
    return {name: question for name, question in {**_QUESTIONS, **programs}.items() if name not in present}


def _ask(name: str, question: str) -> str:
    answer: str = click.prompt(
        question, default="", show_default=False, hide_input="KEY" in name, value_proc=lambda said: _checked(name, said)
    )
    return answer


def _checked(name: str, said: str) -> str:
    try:
        read({name: said})
    except SettingError as problem:
        raise click.BadParameter(str(problem)) from problem
    return said


def create_key(settings: Settings, *, name: str, scopes: frozenset[Scope], tenant: str | None) -> str:
    """Make an API key and give its secret, which is shown nowhere else. The tenant is made where it is missing.

    Raises:
        DatabaseAway: the database cannot be reached.
        ClickException: it has not been migrated.
    """
    if not is_current(settings.core.database_url):
        raise click.ClickException("The database is not at this release: run `corral up` or `corral migrate` first.")
    sealer = Sealer(settings.core.secret_key)
    with closing(Database(settings.core.database_url)) as database, database.write() as connection:
        owner = tenants.ensure_default(connection, sealer, clock.now())
        if tenant is not None:
            owner = TenantId(tenant)
            # False where it is there already, which is as good.
            tenants.create(connection, owner, tenant, sealer, clock.now())
        _, secret = keys.create(
            connection, tenant=owner, name=name, scopes=scopes, expires_at=None, sealer=sealer, at=clock.now()
        )
    return secret
