"""The commands that speak to a running API: `run`, `sessions`, `logs`, `terminate`."""

from __future__ import annotations

import io
import sys

import click

from cli import home as homes
from cli.edge import LEFT
from cli.options import SESSION, home_option


@click.command()
@home_option
@click.argument("prompt")
@click.option(
    "--agent", default="demo", show_default=True, help="Which agent; `corral doctor` lists those that are ready."
)
@click.option("--workspace", metavar="DIR", help="A folder of CORRAL_ALLOWED_FOLDERS; a new one where not given.")
@click.option(
    "--mode",
    type=click.Choice(["interactive", "accept_edits", "plan", "bypass"]),
    default="interactive",
    show_default=True,
    help="How freely the agent acts.",
)
@click.option("--model", help="The agent's own name of a model.")
@click.option("--session", type=SESSION, metavar="ID", help="Go on with this session instead of starting one.")
@click.option(
    "--on-ask",
    type=click.Choice(["answer", "wait", "deny"]),
    help="What the agent asks is put to you (answer), left to others (wait) or denied (deny)."
    "  [default: answer on a terminal, else wait]",
)
def run(home_path: str, prompt: str, session: str | None, on_ask: str | None, **wishes: str | None) -> None:
    """Send a prompt, show the work, answer the asks.

    Speaks to the API of CORRAL_URL with CORRAL_KEY, else to what runs on the home. Ctrl-C cancels the turn, a second
    one leaves. Exit status 0 where the turn completed, 1 where it did not, 130 where you left.
    """
    from cli import conversation, remote
    from cli.asks import ON_ASK

    _write_anything()
    client = remote.connect(homes.find_home(home_path))
    watch = conversation.begin(client, prompt, session, wishes)
    try:
        completed = watch.follow(client, ON_ASK[on_ask or ("answer" if sys.stdin.isatty() else "wait")])
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"left; see what becomes of it: corral logs --follow {watch.session}", err=True)
        sys.exit(LEFT)
    if client.call("GET", f"/sessions/{watch.session}")["status"] != "ended":
        click.echo(f'The session goes on: corral run --session {watch.session} "…"', err=True)
    sys.exit(0 if completed else 1)


@click.command("sessions")
@home_option
@click.option("--all", "shows_all", is_flag=True, help="Ended ones too.")
def listed(home_path: str, *, shows_all: bool) -> None:
    """List sessions, newest first: id, state, agent, title."""
    from cli import remote

    _write_anything()
    for row in remote.connect(homes.find_home(home_path)).pages("/sessions"):
        if shows_all or row["status"] != "ended":
            click.echo(f"{row['id']}  {row['status']:<9} {row['agent']:<8} {row.get('title') or ''}".rstrip())


@click.command()
@home_option
@click.argument("session", type=SESSION)
@click.option("--follow", is_flag=True, help="Go on until the session ends.")
def logs(home_path: str, session: str, *, follow: bool) -> None:
    """Print what a session's agent said and did, from its beginning."""
    from cli import conversation, remote

    _write_anything()
    try:
        conversation.replay(remote.connect(homes.find_home(home_path)), session, follow=follow)
    except KeyboardInterrupt:
        sys.exit(LEFT)


@click.command()
@home_option
@click.argument("session", type=SESSION)
def terminate(home_path: str, session: str) -> None:
    """End a session and every process of its agent. Its workspace stays."""
    from cli import remote

    remote.connect(homes.find_home(home_path)).call("POST", f"/sessions/{remote.segment(session)}/terminate")
    click.echo(f"{session} is ending.")


def _write_anything() -> None:
    """What the terminal's encoding lacks becomes a question mark, not the end of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
