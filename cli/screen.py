"""Prints the events of a session for a person: what the agent says to stdout, what Corral says about it to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

_SHOWN: Final = 2000
"""Characters of a tool's output shown; the log has all of it."""

# An agent's text may hold what moves the cursor or rewrites the screen: it could paint a question of its own.
_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"
}


def plain(text: str) -> str:
    """`text` with control characters made visible, except newline and tab."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def indented(text: str) -> str:
    """`text` with each line two columns in."""
    return "\n".join(f"  {line}" for line in text.splitlines())


class Screen:
    """Text that came in chunks is not printed again when its message is whole."""

    def __init__(self) -> None:
        self._has_chunks = False
        self._is_thinking = False

    def show(self, event: Mapping[str, Any]) -> None:
        """Print one event."""
        data = event["data"]
        if event["type"] in {"message_chunk", "thinking_chunk"}:
            self._chunk(data["text"], is_thinking=event["type"] == "thinking_chunk")
            return
        if self._is_thinking:
            click.echo()
            self._is_thinking = False
        if event["type"] == "message":
            click.echo("" if self._has_chunks else plain(data["text"]))
            self._has_chunks = False
        elif (shown := _SHOWS.get(event["type"])) is not None:
            shown(data)

    def _chunk(self, text: str, *, is_thinking: bool) -> None:
        if self._is_thinking and not is_thinking:
            click.echo()
        self._is_thinking = is_thinking
        self._has_chunks = self._has_chunks or not is_thinking
        click.secho(plain(text), nl=False, dim=is_thinking)


def _tool(data: Mapping[str, Any]) -> None:
    click.secho(plain(f"▸ {data['name']} {_short(data.get('input'))}"), fg="cyan")


def _result(data: Mapping[str, Any]) -> None:
    text = str(data.get("output") or "")[:_SHOWN].rstrip()
    if text:
        click.secho(indented(plain(text)), fg="red" if data.get("is_error") else None, dim=not data.get("is_error"))


def _plan(data: Mapping[str, Any]) -> None:
    marks = {"completed": "✓", "in_progress": "▸"}
    for item in data.get("items", ()):
        click.echo(plain(f"  {marks.get(item.get('status'), '·')} {item.get('text')}"))


def _notice(data: Mapping[str, Any]) -> None:
    _told(f"[{data.get('kind', 'notice')}] {data.get('message', '')}", fg="yellow")


def _problem(data: Mapping[str, Any]) -> None:
    _told(f"error: {data.get('message')}", fg="red")


def _retrying(data: Mapping[str, Any]) -> None:
    _told(f"[retrying, attempt {data.get('attempt')}] {data.get('error') or ''}", fg="yellow")


def _turn_ended(data: Mapping[str, Any]) -> None:
    cost = f", ${data['cost_usd']:.4f}" if data.get("cost_usd") else ""
    told = f" {data['error']}" if data.get("error") else ""
    _told(
        f"[{data['status']}: {data['stop_reason']}{cost}]{told}", fg="green" if data["status"] == "completed" else "red"
    )


def _session_stranded(data: Mapping[str, Any]) -> None:
    lacks = "can start its agent" if data.get("reason") == "no_worker_with_agent" else "holds the session's files"
    _told(f"[stranded: no living worker {lacks}; it goes on when one returns]", fg="yellow")


def _session_ended(data: Mapping[str, Any]) -> None:
    _told(f"[session ended: {data.get('reason')}] {data.get('detail') or ''}", fg="red")


def _told(text: str, *, fg: str) -> None:
    click.secho(plain(text).rstrip(), fg=fg, err=True)


_SHOWS: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {
    "tool_call": _tool,
    "tool_result": _result,
    "plan_update": _plan,
    "notice": _notice,
    "error": _problem,
    "retrying": _retrying,
    "turn_ended": _turn_ended,
    "session_stranded": _session_stranded,
    "session_ended": _session_ended,
}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:160]}…"
