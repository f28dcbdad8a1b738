"""Gemini CLI: `gemini --acp`, seen in 0.61.0 against a stand-in for its model."""

from __future__ import annotations

from shared.agents.acp.flavour import Flavour
from shared.agents.driver import Abilities, Profile
from shared.domain.session import Mode

GEMINI = Flavour(
    name="gemini",
    program="gemini",
    abilities=Abilities(
        modes=frozenset(Mode),
        allow_always=True,
        profile=Profile(hosts=("generativelanguage.googleapis.com", "aiplatform.googleapis.com")),
    ),
    # 0.61.0 offers `session/load` and then finds no earlier conversation, though it has written one down.
    arguments=("--acp",),
    # Its own `autoEdit` and `yolo` it refuses in a folder it does not trust, and it should trust none of ours: whose
    # workspace is trusted may bring hooks and servers.
    modes={Mode.INTERACTIVE: ("default",), Mode.PLAN: ("plan",)},
    # A login with Google opens a browser, which no worker has.
    login=("gemini-api-key", "vertex-ai"),
)
