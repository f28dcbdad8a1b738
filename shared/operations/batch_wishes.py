"""What an item of a batch wants: checked before the batch is stored, kept as a sealed text until the item starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from shared.domain.batch import ItemKind
from shared.domain.budget import OnBudget
from shared.domain.errors import InvalidField, Refused, UnknownAgent, UnknownWorkspaceKind
from shared.domain.ids import BatchId, SessionId
from shared.domain.session import Limits, Mode, OnWorkerLoss, SessionSpec
from shared.domain.turn import WhenBusy
from shared.operations import sessions
from shared.operations.callbacks import SessionWebhook, check_session_webhook
from shared.operations.context import Context
from shared.operations.prompts import Prompt
from shared.operations.sessions import Attachment, NewSession
from shared.operations.webhook_targets import check_url

_RESOLVERS: Final = 16
"""Names of receivers looked up at once: each may take two seconds."""


@dataclass(frozen=True, slots=True)
class PromptWish:
    """Send a prompt to a session."""

    session: SessionId
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class SessionWish:
    """Start a session with its first prompt."""

    new: NewSession


@dataclass(frozen=True, slots=True)
class TerminateWish:
    """End a session."""

    session: SessionId


Wish = PromptWish | SessionWish | TerminateWish


def checked(context: Context, wishes: Sequence[Wish]) -> list[Wish]:
    """The wishes, completed. Whether sessions exist and what state they are in is seen when an item starts.

    Raises:
        InvalidField: the first item that cannot be as wished; names `items[i].field`.
    """
    complete = [_completed(context, n, wish) for n, wish in enumerate(wishes)]
    _check_receivers(context, complete)
    return complete


def kind_of(wish: Wish) -> ItemKind:
    """What the item does."""
    match wish:
        case PromptWish():
            return ItemKind.PROMPT
        case SessionWish():
            return ItemKind.SESSION
        case TerminateWish():
            return ItemKind.TERMINATE


def encode(wish: Wish) -> str:
    """A JSON text that `decode` reads."""
    match wish:
        case PromptWish(prompt=prompt):
            return json.dumps(asdict(prompt))
        case SessionWish(new=new):
            webhook = None if new.webhook is None else asdict(new.webhook)
            attach = None if new.attach is None else asdict(new.attach)
            given = {"prompt": new.prompt, "source": new.source, "webhook": webhook, "attach": attach}
            return json.dumps({"spec": asdict(new.spec), **given})
        case TerminateWish():
            return "{}"


def decode(kind: ItemKind, session: SessionId | None, text: str, batch: BatchId) -> Wish:
    """The wish that `encode` was given, as an item of `batch`."""
    data: dict[str, Any] = json.loads(text)
    match kind:
        case ItemKind.SESSION:
            hook = data["webhook"]
            webhook = None if hook is None else SessionWebhook(hook["url"], hook["secret"], tuple(hook["events"]))
            # A batch of an earlier release has no such field.
            attach = None if data.get("attach") is None else Attachment(**data["attach"])
            new = NewSession(_spec(data["spec"]), prompt=data["prompt"], source=data["source"], webhook=webhook)
            return SessionWish(replace(new, batch=batch, attach=attach))
        case ItemKind.PROMPT:
            given = {**data, "when_busy": WhenBusy(data["when_busy"]), "batch": batch}
            return PromptWish(SessionId(session or ""), Prompt(**given))
        case ItemKind.TERMINATE:
            return TerminateWish(SessionId(session or ""))


def _spec(data: dict[str, Any]) -> SessionSpec:
    words = {"mode": Mode(data["mode"]), "on_worker_loss": OnWorkerLoss(data["on_worker_loss"])}
    made = {"limits": Limits(**data["limits"]), "allowed_domains": tuple(data["allowed_domains"])}
    # One that the release before accepted says nothing about budgets.
    on_budget = OnBudget(data.get("on_budget", OnBudget.STOP))
    return SessionSpec(**{**data, **words, **made, "on_budget": on_budget})


def _completed(context: Context, index: int, wish: Wish) -> Wish:
    if not isinstance(wish, SessionWish):
        return wish
    new = wish.new
    if new.webhook is not None and new.webhook.secret is None:
        problem = "must be given: one that Corral makes would be shown to nobody"
        raise InvalidField(f"items[{index}].webhook.secret", problem)
    with _named(index):
        return SessionWish(replace(new, spec=sessions.complete(context, new), limits={}))


@contextmanager
def _named(index: int) -> Iterator[None]:
    """Errors of one item name it: whoever sent a thousand must not have to search."""
    try:
        yield
    except InvalidField as problem:
        field, what = str(problem.facts["field"]), str(problem.facts["problem"])
        raise InvalidField(f"items[{index}].{field}", what) from problem
    except Refused as problem:
        raise InvalidField(f"items[{index}].{_field(problem)}", problem.message) from problem


def _field(problem: Refused) -> str:
    if isinstance(problem, UnknownAgent):
        return "agent"
    if isinstance(problem, UnknownWorkspaceKind):
        return "workspace.kind"
    named = (name for name in ("mode", "model", "agent_session_id") if name in problem.facts)
    return next(named, "allowed_domains")


def _check_receivers(context: Context, wishes: Sequence[Wish]) -> None:
    """Each receiver once, several at a time: a thousand items often name the same one."""
    rules = context.webhook_rules
    found: dict[object, tuple[int, Callable[[], None]]] = {}
    for index, wish in enumerate(wishes):
        match wish:
            case PromptWish(prompt=Prompt(callback_url=str(url))):
                found.setdefault(url, (index, partial(check_url, rules, url, "callback_url")))
            case SessionWish(new=NewSession(webhook=SessionWebhook() as hook)):
                found.setdefault(hook, (index, partial(check_session_webhook, rules, hook)))
    if not found:
        return

    def check(one: tuple[int, Callable[[], None]]) -> None:
        index, look = one
        with _named(index):
            look()

    with ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="receivers") as pool:
        list(pool.map(check, found.values()))
