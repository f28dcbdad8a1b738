"""What tells one ACP agent from another: its command line, its words for our modes, its extensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.agents.driver import Abilities, Emit, LaunchOptions
from shared.domain.ask import Answer, AskKind
from shared.domain.json import JsonObject
from shared.domain.session import Mode


class Waiting(Protocol):
    """A request of the agent that waits for a human."""

    @property
    def kind(self) -> AskKind:
        """What the human is asked for."""
        ...

    @property
    def data(self) -> JsonObject:
        """What the human is shown."""
        ...

    def answered(self, answer: Answer) -> JsonObject:
        """The result that carries the answer."""
        ...

    def cancelled(self) -> JsonObject:
        """The result that says nobody will answer, because the turn is over or was stopped."""
        ...


class Extras(Protocol):
    """What an agent asks and tells beside ACP, for one conversation."""

    def asked(self, method: str, params: JsonObject) -> Waiting | None:
        """The ask in a request; None where the method is unknown, or the request has nothing that could be shown."""
        ...

    def told(self, method: str, params: JsonObject) -> Sequence[Emit] | None:
        """The events in a request or notification that waits for nobody; None where the method is unknown."""
        ...


class NoExtras:
    """An agent that keeps to the protocol."""

    def asked(self, method: str, params: JsonObject) -> Waiting | None:
        """Nothing."""
        return None

    def told(self, method: str, params: JsonObject) -> Sequence[Emit] | None:
        """Nothing."""
        return None


def nothing(_options: LaunchOptions) -> Mapping[str, str]:
    """No environment of its own."""
    return {}


@dataclass(frozen=True, slots=True)
class Flavour:
    """One agent that speaks ACP."""

    name: str
    program: str
    abilities: Abilities
    arguments: Sequence[str]
    """After the command, to make it speak ACP on stdin and stdout."""
    modes: Mapping[Mode, Sequence[str]]
    """The agent's names of each mode, best first; the first it offers is taken.

    Where it offers none for `accept_edits` or `bypass`, it stays in its mode for `interactive` and the driver gives
    the permissions. A missing `plan` is refused.
    """
    version_args: Sequence[str] = ("--version",)
    environment: Callable[[LaunchOptions], Mapping[str, str]] = nothing
    login: Sequence[str] = ()
    """Ways to authenticate that need no human, best first; taken when the agent asks for it."""
    login_first: bool = False
    """Authenticate before the agent asks for it."""
    extras: Callable[[], Extras] = field(default=NoExtras)
