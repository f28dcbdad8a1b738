"""Our modes in Codex's words: who approves, what the sandbox lets through, and whether it plans or acts."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.json import JsonObject
from shared.domain.session import Mode

_READ_ONLY: JsonObject = {"type": "readOnly", "networkAccess": False}
_WORKSPACE: JsonObject = {
    "type": "workspaceWrite",
    "writableRoots": [],
    "networkAccess": False,
    "excludeTmpdirEnvVar": False,
    "excludeSlashTmp": False,
}
_NO_SANDBOX: JsonObject = {"type": "dangerFullAccess"}

_SETTINGS: Mapping[Mode, JsonObject] = {
    # What is not known to be harmless is asked for. Allowed it must be able to do what it was allowed for: in a
    # read-only sandbox an allowed `touch f` fails (0.163.0).
    Mode.INTERACTIVE: {"approvalPolicy": "untrusted", "sandboxPolicy": _NO_SANDBOX},
    # Within the workspace it is free, commands included; what the sandbox stops is asked for.
    Mode.ACCEPT_EDITS: {"approvalPolicy": "on-request", "sandboxPolicy": _WORKSPACE},
    Mode.PLAN: {"approvalPolicy": "untrusted", "sandboxPolicy": _READ_ONLY},
    Mode.BYPASS: {"approvalPolicy": "never", "sandboxPolicy": _NO_SANDBOX},
}

THREAD_SETTINGS: JsonObject = {"approvalPolicy": "untrusted", "sandbox": "read-only"}
"""A thread begins with the least. One begun with more marks the workspace as trusted, and then a cloned repository's
own `.codex/config.toml` is obeyed (seen in 0.163.0); settings of a turn do not.
"""


def turn_settings(mode: Mode, *, model: str, effort: str) -> JsonObject:
    """What a turn in `mode` is started with. They stay until the next turn says otherwise.

    An empty model leaves that of the thread, and plan mode cannot be told without one.
    """
    settings: JsonObject = {**_SETTINGS[mode]}
    if not model:
        return settings
    # `developer_instructions` None means Codex's own for the mode; effort and model here go before those of the turn.
    chosen: JsonObject = {"model": model, "reasoning_effort": effort or None, "developer_instructions": None}
    kind = "plan" if mode is Mode.PLAN else "default"
    return {**settings, "model": model, "collaborationMode": {"mode": kind, "settings": chosen}}
