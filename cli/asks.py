"""What becomes of an agent's asks on the command line: put to the person at the terminal, left to others, or denied."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from cli.remote import Client, RemoteProblem
from cli.screen import indented, plain

Answer = dict[str, Any]
OnAsk = Callable[[Client, Mapping[str, Any]], None]
"""Called with each event that opens an ask."""


def put_to_terminal(client: Client, event: Mapping[str, Any]) -> None:
    """Ask the person at the terminal and hand on the answer.

    Raises:
        click.Abort: Ctrl-C, or the end of stdin, instead of an answer.
    """
    _send(client, event, _QUESTIONS[event["type"]](event["data"]))


def deny(client: Client, event: Mapping[str, Any]) -> None:
    """Deny it at once."""
    click.secho(f"[denied: {_subject(event)}]", fg="yellow", err=True)
    _send(client, event, _DENIALS[event["type"]])


def leave_to_others(client: Client, event: Mapping[str, Any]) -> None:
    """Say how it can be answered from elsewhere, and go on watching."""
    ask, expires_at = event["data"]["ask_id"], event["data"].get("expires_at")
    click.secho(f"[{ask} waits for an answer: {_subject(event)}]", fg="yellow", err=True)
    click.echo(
        f'  curl {shlex.quote(f"{client.url}/v1/asks/{ask}/answer")} -H "Authorization: Bearer $CORRAL_KEY"'
        f" -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(_example(event), ensure_ascii=False))}",
        err=True,
    )
    if expires_at:
        click.echo(f"  Without one it is denied at {expires_at}.", err=True)


def _send(client: Client, event: Mapping[str, Any], answer: Answer) -> None:
    try:
        client.call("POST", f"/asks/{event['data']['ask_id']}/answer", answer)
    except RemoteProblem as problem:
        # Somebody else was first, or it has expired: the turn goes on all the same.
        click.secho(problem.message, fg="yellow", err=True)


def _subject(event: Mapping[str, Any]) -> str:
    data = event["data"]
    match event["type"]:
        case "permission_request":
            if data.get("checkpoint"):
                return "shall this prompt run?"
            return plain(f"may the agent use {data.get('tool_name')}?")
        case "question":
            return plain(" ".join(str(one["question"]) for one in data.get("questions", ())))
        case _:
            return "the agent proposes a plan"


def _example(event: Mapping[str, Any]) -> Answer:
    match event["type"]:
        case "permission_request":
            return {"decision": "allow"}
        case "question":
            return {"answers": {one["question"]: _first_label(one) for one in event["data"].get("questions", ())}}
        case _:
            return {"verdict": "approve"}


def _first_label(question: Mapping[str, Any]) -> str:
    options = question.get("options") or [{"label": "…"}]
    return str(options[0]["label"])


def _permission(data: Mapping[str, Any]) -> Answer:
    if data.get("checkpoint"):
        _say("\nShall this prompt run?", bold=True)
        _say(indented(str(data["input"].get("text"))))
        return {"decision": "allow" if click.confirm("run it?", default=True, err=True) else "deny"}
    _say(f"\nMay the agent use {data.get('tool_name')}?", bold=True)
    _say(indented(json.dumps(data.get("input"), ensure_ascii=False, indent=2)))
    choice = click.prompt(
        "allow, always or deny", type=click.Choice(["allow", "always", "deny"]), default="allow", err=True
    )
    if choice == "deny":
        return {"decision": "deny", "message": _asked("reason", default="", show_default=False)}
    return {"decision": "allow_always" if choice == "always" else "allow"}


def _question(data: Mapping[str, Any]) -> Answer:
    return {"answers": {question["question"]: _one_answer(question) for question in data.get("questions", ())}}


def _one_answer(question: Mapping[str, Any]) -> str | list[str]:
    _say(f"\n{question['question']}", bold=True)
    options = question.get("options") or []
    for number, option in enumerate(options, 1):
        _say(f"  {number}. {option['label']}  {option.get('description') or ''}".rstrip())
    if not question.get("multi_select"):
        return _label(_asked("number or text"), options)
    said = _asked("numbers or texts, separated by commas")
    return [_label(part.strip(), options) for part in said.split(",") if part.strip()]


def _label(said: str, options: list[Mapping[str, Any]]) -> str:
    is_number = said.isdecimal() and 0 < int(said) <= len(options)
    return str(options[int(said) - 1]["label"]) if is_number else said


def _proposal(data: Mapping[str, Any]) -> Answer:
    _say("\nThe agent proposes:", bold=True)
    _say(indented(str(data.get("plan"))))
    if click.confirm("approve?", default=True, err=True):
        return {"verdict": "approve"}
    return {"verdict": "reject", "feedback": _asked("what should change")}


def _asked(text: str, **more: Any) -> str:
    return str(click.prompt(text, err=True, **more))


def _say(text: str, **style: Any) -> None:
    click.secho(plain(text), err=True, **style)


_QUESTIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], Answer]]] = {
    "permission_request": _permission,
    "question": _question,
    "plan_proposed": _proposal,
}
ASKS: Final = frozenset(_QUESTIONS)
"""Types of the events that open an ask."""

_DENIALS: Final[Mapping[str, Answer]] = {
    "permission_request": {"decision": "deny", "message": "Nobody is there to allow it."},
    "question": {"answers": None, "message": "Nobody is there to answer."},
    "plan_proposed": {"verdict": "reject", "feedback": "Nobody is there to approve it."},
}
ON_ASK: Final[Mapping[str, OnAsk]] = {"answer": put_to_terminal, "wait": leave_to_others, "deny": deny}
