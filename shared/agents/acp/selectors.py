"""What can be chosen in a conversation: the agent's modes and models, in whichever of two forms it offers them.

Config options are the newer form, `modes` and `models` of the session the older one; agents give either or both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.agents import jsonlines
from shared.domain.json import JsonObject
from shared.domain.session import Mode

MAX_VALUES = 2000


@dataclass(slots=True)
class Selector:
    """One thing that can be chosen."""

    option: str = ""
    """The id of the config option; empty where the older form is all there is."""
    current: str = ""
    initial: str = ""
    values: list[str] = field(default_factory=list)

    @property
    def is_offered(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self.values)

    def take(self, current: str, values: Sequence[str], option: str) -> None:
        """What the agent says is offered and chosen."""
        self.option, self.current, self.values = option, current or self.current, list(values)[:MAX_VALUES]
        self.initial = self.initial or current


class Selectors:
    """The mode and the model of a conversation."""

    def __init__(self, names: Mapping[Mode, Sequence[str]]) -> None:
        self._names = names
        self.mode = Selector()
        self.model = Selector()

    def read_session(self, result: JsonObject) -> None:
        """A session was made, resumed or loaded."""
        modes, models = jsonlines.obj(result, "modes"), jsonlines.obj(result, "models")
        if modes:
            self.mode.take(jsonlines.text(modes, "currentModeId"), _ids(modes, "availableModes", "id"), "")
        if models:
            self.model.take(jsonlines.text(models, "currentModelId"), _ids(models, "availableModels", "modelId"), "")
        self.read_options(result)

    def read_options(self, result: JsonObject) -> None:
        """Config options as they now stand."""
        for option in jsonlines.objects(result, "configOptions"):
            selector = {"mode": self.mode, "model": self.model}.get(jsonlines.text(option, "category"))
            name = jsonlines.text(option, "id")
            if selector is not None and name and selector.option in ("", name):
                selector.take(jsonlines.text(option, "currentValue"), _values(option), name)

    def their_mode(self, mode: Mode) -> str | None:
        """The agent's name of a mode; None where it has none."""
        for name in self._names.get(mode, ()):
            if name in self.mode.values:
                return name
        return self._default() if mode is Mode.INTERACTIVE else None

    def our_mode(self, theirs: str) -> Mode | None:
        """The mode that the agent's own name means; None for one that is neither of ours."""
        for mode in (Mode.PLAN, Mode.BYPASS, Mode.ACCEPT_EDITS, Mode.INTERACTIVE):
            if theirs in self._names.get(mode, ()):
                return mode
        return Mode.INTERACTIVE if theirs and theirs == self._default() else None

    def _default(self) -> str | None:
        """The mode it came up with, unless that is one we know to be another."""
        special = {name for mode, names in self._names.items() if mode is not Mode.INTERACTIVE for name in names}
        candidates = [self.mode.initial, *self.mode.values]
        return next((name for name in candidates if name and name not in special), None)


def _ids(holder: JsonObject, key: str, name: str) -> list[str]:
    return [jsonlines.text(item, name) for item in jsonlines.objects(holder, key) if jsonlines.text(item, name)]


def _values(option: JsonObject) -> list[str]:
    groups = [option, *jsonlines.objects(option, "options")]
    return [value for group in groups for value in _ids(group, "options", "value")]
