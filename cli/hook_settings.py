"""The hooks in a Claude Code settings file that report to Corral: made, merged in and taken out. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.agents.registry import REPORT_FORMS

AGENT: Final = "claude"
TOKEN_VARIABLE: Final = "CORRAL_HOOK_TOKEN"  # noqa: S105 - a name
URL_VARIABLE: Final = "CORRAL_HOOK_URL"
SEND: Final = "hooks send"

# Claude Code 2.1.329 does not post this one, whatever the settings say; a command hook of it is run.
_UNPOSTED: Final = "SessionStart"
_ASKS: Final = "PermissionRequest"
_TIMEOUT_S: Final = 10
"""Longest that an API which does not answer holds Claude Code up, at each hook."""
_MARGIN_S: Final = 10
"""What the hook waits longer than the API may, so that the API's reply is heard."""

Settings = dict[str, Any]


class UnusableSettings(Exception):
    """A settings file has a form that nothing can be merged into."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where to report and with what. `wait_s`: how long a permission may wait to be granted from afar; None: never."""

    url: str
    token: str
    command: str
    """The `corral` program, for the hook that is no request."""
    wait_s: float | None = None


def make(access: Access) -> Settings:
    """A whole settings file that does nothing but report.

    The token stands once, in `env`, and headers refer to it. What Claude Code starts sees it there too, and can do no
    more with it than report.
    """
    events = sorted(REPORT_FORMS[AGENT].known)
    return {
        "env": {TOKEN_VARIABLE: access.token, URL_VARIABLE: access.url},
        "hooks": {event: [{"hooks": [_hook(event, access)]}] for event in events},
    }


def merged(existing: Settings, access: Access) -> Settings:
    """`existing` with our hooks beside what stands there; those of an earlier installation are replaced.

    Raises:
        UnusableSettings: `hooks` or `env` is no object, or an event's hooks are no list.
    """
    kept, ours = without(existing), make(access)
    hooks = dict(kept.get("hooks", {}))
    for event, groups in ours["hooks"].items():
        hooks[event] = [*hooks.get(event, []), *groups]
    return {**kept, "env": {**kept.get("env", {}), **ours["env"]}, "hooks": hooks}


def without(existing: Settings) -> Settings:
    """`existing` without our hooks; what is left empty by that goes too.

    Raises:
        UnusableSettings: as for `merged`.
    """
    _check(existing)
    hooks = {event: _others(groups) for event, groups in existing.get("hooks", {}).items()}
    # An event that had no hooks before us keeps its empty list.
    hooks = {event: groups for event, groups in hooks.items() if groups or not existing["hooks"][event]}
    env = {name: text for name, text in existing.get("env", {}).items() if name not in {TOKEN_VARIABLE, URL_VARIABLE}}
    changed: Settings = {**existing, "hooks": hooks, "env": env}
    return {name: value for name, value in changed.items() if value or (name in existing and not existing[name])}


def _hook(event: str, access: Access) -> Mapping[str, Any]:
    if event == _UNPOSTED:
        return {"type": "command", "command": f"{shlex.quote(access.command)} {SEND} {event}", "timeout": _TIMEOUT_S}
    url, timeout_s = f"{access.url}/v1/hooks/{AGENT}/{event}", float(_TIMEOUT_S)
    if event == _ASKS and access.wait_s is not None:
        url, timeout_s = f"{url}?wait_s={access.wait_s:g}", access.wait_s + _MARGIN_S
    return {
        "type": "http",
        "url": url,
        "timeout": int(timeout_s),
        "headers": {"Authorization": f"Bearer ${TOKEN_VARIABLE}"},
        "allowedEnvVars": [TOKEN_VARIABLE],
    }


def _others(groups: list[Any]) -> list[Any]:
    kept = []
    for group in groups:
        hooks = group.get("hooks") if isinstance(group, dict) else None
        if not isinstance(hooks, list):
            kept.append(group)
        elif rest := [hook for hook in hooks if not _is_ours(hook)]:
            kept.append({**group, "hooks": rest})
        elif not hooks:
            kept.append(group)
    return kept


def _is_ours(hook: object) -> bool:
    if not isinstance(hook, dict):
        return False
    return hook.get("allowedEnvVars") == [TOKEN_VARIABLE] or f" {SEND} " in str(hook.get("command", ""))


def _check(existing: Settings) -> None:
    hooks, env = existing.get("hooks", {}), existing.get("env", {})
    if not isinstance(hooks, dict) or not isinstance(env, dict):
        raise UnusableSettings("its `hooks` and `env` must be objects")
    if not all(isinstance(groups, list) for groups in hooks.values()):
        raise UnusableSettings("each event of its `hooks` must have a list")
