"""`corral run` and `corral logs`: one turn as it happens, or a session's log from its beginning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from cli.asks import ASKS, OnAsk
from cli.remote import Client, RemoteProblem, segment
from cli.screen import Screen


@dataclass(slots=True)
class Watch:
    """One turn that was sent off, and how far its session's log has been shown."""

    session: str
    turn: str
    after: int
    screen: Screen = field(default_factory=Screen)

    def follow(self, client: Client, on_ask: OnAsk) -> bool:
        """Show events until the turn ends; whether it completed. The first Ctrl-C cancels the turn.

        Raises:
            KeyboardInterrupt, click.Abort: Ctrl-C came again; the turn goes on to its end without us.
        """
        try:
            return self._to_end(client, on_ask)
        except (KeyboardInterrupt, click.Abort):
            click.echo("\ncancelling …  (once more leaves)", err=True)
            self._cancel(client)
        return self._to_end(client, on_ask)

    def _to_end(self, client: Client, on_ask: OnAsk) -> bool:
        for event in client.events(self.session, self.after):
            # First, so that nothing is shown or asked twice after a Ctrl-C in the middle of it.
            self.after = event["seq"]
            self.screen.show(event)
            if event["type"] in ASKS:
                on_ask(client, event)
            if event["turn_id"] == self.turn and event["type"] == "turn_ended":
                return bool(event["data"]["status"] == "completed")
        return False

    def _cancel(self, client: Client) -> None:
        try:
            client.call("POST", f"/turns/{segment(self.turn)}/cancel")
        except RemoteProblem as problem:
            # It may have ended in this very moment; the log tells.
            click.secho(problem.message, fg="yellow", err=True)


def begin(client: Client, prompt: str, session: str | None, wishes: Mapping[str, str | None]) -> Watch:
    """Send the prompt, to `session` or to a new one as wished.

    Raises:
        RemoteProblem: the API refuses or is away.
    """
    if session is not None:
        path = f"/sessions/{segment(session)}"
        after = int(client.call("GET", path)["last_seq"])
        turn = client.call("POST", f"{path}/prompts", {"text": prompt})
    else:
        made = client.call("POST", "/sessions", _body(prompt, wishes))
        session, turn, after = str(made["id"]), made["turn"], 0
        click.secho(f"[{session}]", dim=True, err=True)
    if turn["queue_position"]:
        click.secho(f"[{turn['queue_position']} before it]", dim=True, err=True)
    return Watch(session, str(turn["id"]), after)


def _body(prompt: str, wishes: Mapping[str, str | None]) -> dict[str, Any]:
    body: dict[str, Any] = {"agent": wishes["agent"], "mode": wishes["mode"], "prompt": prompt}
    if wishes.get("model"):
        body["model"] = wishes["model"]
    if wishes.get("workspace"):
        # Whoever sits at the terminal knows what else works in the folder.
        body["workspace"] = {"kind": "folder", "path": wishes["workspace"], "shared": True}
    return body


def replay(client: Client, session: str, *, follow: bool) -> None:
    """Show a session's log from its beginning; with `follow` until it ends.

    Raises:
        RemoteProblem: the API refuses or is away.
    """
    screen = Screen()
    if follow:
        for event in client.events(session, 0):
            screen.show(event)
        return
    after = 0
    while page := client.call("GET", f"/sessions/{segment(session)}/events", after=after, limit=200)["data"]:
        for event in page:
            screen.show(event)
        after = page[-1]["seq"]
