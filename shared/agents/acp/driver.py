"""Any agent that speaks the Agent Client Protocol, as an agent of Corral."""

from __future__ import annotations

from collections.abc import Sequence

from shared.agents.acp import outcome
from shared.agents.acp.dialogue import AcpDialogue
from shared.agents.acp.flavour import Flavour
from shared.agents.driver import Abilities, Launch, LaunchOptions, TurnEnd


class AcpDriver:
    """See `shared.agents.driver.Driver`. Speaks ACP 1 over stdin and stdout, in the flavour of one agent."""

    def __init__(self, flavour: Flavour) -> None:
        self._flavour = flavour
        self.name = flavour.name
        self.abilities: Abilities = flavour.abilities
        self.program = flavour.program
        self.version_args: Sequence[str] = flavour.version_args

    def launch(self, options: LaunchOptions) -> Launch:
        """How to start it. Which conversation, mode and model is said over the protocol."""
        environment = {"HOME": options.home, **self._flavour.environment(options)}
        return Launch([*options.command, *self._flavour.arguments], environment)

    def dialogue(self, options: LaunchOptions) -> AcpDialogue:
        """A conversation for a process that `launch(options)` started."""
        return AcpDialogue(options, self._flavour)

    def is_stale(self, end: TurnEnd) -> bool:
        """Whether the agent does not know the conversation it was to resume. Such an end may come before any prompt."""
        return end.stop_reason == outcome.UNKNOWN_CONVERSATION
