"""An agent of the operator's choice, by its command."""

from __future__ import annotations

from shared.agents.acp.flavour import Flavour
from shared.agents.driver import Abilities
from shared.domain.session import Mode

GENERIC = Flavour(
    name="acp",
    program="acp-agent",
    abilities=Abilities(modes=frozenset(Mode), questions=True, plans=True, resume=True, allow_always=True),
    arguments=(),
    # Asked for its version, an agent that knows no such argument would begin to speak ACP.
    version_args=(),
    modes={
        Mode.INTERACTIVE: ("default", "agent", "build", "code"),
        Mode.ACCEPT_EDITS: ("acceptEdits", "accept_edits", "autoEdit", "auto_edit", "auto-edit"),
        Mode.PLAN: ("plan", "architect"),
        Mode.BYPASS: ("bypassPermissions", "yolo", "full-access"),
    },
)
"""`modes` holds the names that agents seen so far have; any other agent's first mode counts as `interactive`."""
