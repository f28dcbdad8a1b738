"""`corral hooks`: has a Claude Code that you run yourself report to Corral."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from cli import home as homes
from cli.options import home_option

_FILE = Path(".claude") / "settings.local.json"


@click.group()
def hooks() -> None:
    """Record agents that you run yourself."""


@hooks.command()
@home_option
@click.option("--write", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Merge them into DIR/.claude.")
@click.option("--title", help="What the sessions are called.")
@click.option("--remote-approval", is_flag=True, help="Permissions may be granted through Corral.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(1, 120), default=60, show_default=True, help="Seconds they may wait."
)
@click.option(
    "--token",
    envvar="CORRAL_HOOK_TOKEN",
    metavar="crh_…",
    help="Use this one (CORRAL_HOOK_TOKEN) and register nothing.",
)
def install(home_path: str, folder: Path | None, token: str | None, wait_s: float, **wishes: Any) -> None:
    """Print the settings that make Claude Code report.

    Registers an external session and shows its token in them. With --write they are merged into
    DIR/.claude/settings.local.json instead: what stands there stays, the file before is kept as .backup beside it.
    """
    from cli import hook_settings, remote

    home = homes.find_home(home_path)
    existing = None if folder is None else _read(_file(folder))
    url = remote.address(home)
    session = None
    if not token:
        wished = {name: value for name, value in {**wishes, "ask_timeout_s": wait_s}.items() if value is not None}
        made = remote.connect(home).call("POST", "/external-sessions", wished)
        token, session = made["hook"]["token"], made["id"]
    access = hook_settings.Access(url, token, _program(), wait_s if wishes["remote_approval"] else None)
    if folder is None:
        click.echo(json.dumps(hook_settings.make(access), indent=2))
    else:
        _write(_file(folder), existing, _merged(folder, existing or {}, access))
        click.echo(f"Wrote {_file(folder)}. Start Claude Code in {folder}.")
    if session is not None:
        click.echo(f"Recorded as {session}; `corral terminate {session}` withdraws the token.", err=True)


@hooks.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
def uninstall(folder: Path) -> None:
    """Take them out of DIR/.claude/settings.local.json again.

    Only what `corral hooks install` wrote; the token stays valid until a session of it is terminated.
    """
    from cli import hook_settings

    path = _file(folder)
    existing = _read(path)
    if existing is None:
        raise click.ClickException(f"There is no {path}.")
    try:
        left = hook_settings.without(existing)
    except hook_settings.UnusableSettings as problem:
        raise click.ClickException(f"{path} was left as it is: {problem}.") from problem
    if left == existing:
        click.echo(f"{path} has no hooks of Corral.")
        return
    _write(path, existing, left)
    click.echo(f"Took them out of {path}.")


@hooks.command()
@click.argument("event")
def send(event: str) -> None:
    """Report one event: its JSON is read from stdin.

    For hooks that can only run a command. Speaks to CORRAL_HOOK_URL with CORRAL_HOOK_TOKEN, and prints the reply where
    it decides something.
    """
    from cli import hook_settings, remote

    url, token = (os.environ.get(name, "") for name in (hook_settings.URL_VARIABLE, hook_settings.TOKEN_VARIABLE))
    if not url or not token:
        raise click.ClickException(f"Set {hook_settings.URL_VARIABLE} and {hook_settings.TOKEN_VARIABLE}.")
    try:
        body = json.loads(sys.stdin.read() or "{}")
    except ValueError as problem:
        raise click.ClickException("What came on stdin is no JSON.") from problem
    client = remote.client(url, token)
    reply = client.call("POST", f"/hooks/{hook_settings.AGENT}/{remote.segment(event)}", body)
    if reply:
        click.echo(json.dumps(reply))


def _merged(folder: Path, existing: dict[str, Any], access: Any) -> dict[str, Any]:
    from cli import hook_settings

    try:
        return hook_settings.merged(existing, access)
    except hook_settings.UnusableSettings as problem:
        raise click.ClickException(f"{_file(folder)} was left as it is: {problem}.") from problem


def _file(folder: Path) -> Path:
    # Through a link, so that the file it leads to is changed and the link stays.
    return (folder / _FILE).resolve()


def _read(path: Path) -> dict[str, Any] | None:
    """What stands in a settings file, before anything is registered for it; None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as problem:
        raise click.ClickException(f"{path} is no JSON; mend it first.") from problem
    if not isinstance(found, dict):
        raise click.ClickException(f"{path} holds no JSON object; mend it first.")
    return found


def _write(path: Path, existing: dict[str, Any] | None, settings: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600
    if existing is not None:
        mode = path.stat().st_mode & 0o777
        backup = path.with_name(f"{path.name}.backup")
        homes.write_private(backup, path.read_text(encoding="utf-8"))
        backup.chmod(mode)
    homes.write_private(path, json.dumps(settings, indent=2) + "\n")
    path.chmod(mode)
    if mode & 0o077 and "crh_" in json.dumps(settings):
        click.echo(f"{path} holds a token, and others may read it (mode {mode:o}).", err=True)


def _program() -> str:
    beside = Path(sys.executable).with_name("corral")
    return str(beside) if beside.exists() else "corral"
