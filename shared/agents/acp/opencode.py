"""OpenCode: `opencode acp`. Run live against a scripted model, 1.18.33."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from shared.agents.acp.flavour import Flavour
from shared.agents.driver import Abilities, LaunchOptions, Profile
from shared.domain.session import Mode

_RULES = {
    "*": "ask",
    **dict.fromkeys(("read", "glob", "grep", "list", "lsp", "todoread", "todowrite", "skill"), "allow"),
}
"""OpenCode allows everything by itself. Its modes are Corral's to bring about, so it asks for all that changes
anything, and the driver gives what the session's mode gives.
"""


def _environment(options: LaunchOptions) -> Mapping[str, str]:
    return {
        # It talks with itself over a port of loopback, which other sessions of this machine can reach.
        "OPENCODE_SERVER_PASSWORD": secrets.token_hex(16),
        "OPENCODE_PERMISSION": json.dumps(_RULES),
        # A cloned repository brings its own `opencode.json`, plugins and commands: none of them may decide what runs.
        "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_SHARE": "1",
        "XDG_CACHE_HOME": f"{options.home}/.cache",
        "XDG_CONFIG_HOME": f"{options.home}/.config",
        "XDG_DATA_HOME": f"{options.home}/.local/share",
        "XDG_STATE_HOME": f"{options.home}/.local/state",
    }


OPENCODE = Flavour(
    name="opencode",
    program="opencode",
    abilities=Abilities(
        modes=frozenset(Mode),
        resume=True,
        cost=True,
        allow_always=True,
        commands=frozenset({"compact", "init", "review"}),
        # Where its own models are, and the list of all models. Other providers are the operator's to list.
        profile=Profile(hosts=("opencode.ai", "models.dev")),
    ),
    arguments=("acp",),
    modes={Mode.INTERACTIVE: ("build",), Mode.PLAN: ("plan",)},
    environment=_environment,
)
