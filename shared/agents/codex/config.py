"""Codex's `config.toml` for one session: whose model, no phoning home, the tools we show, the session's MCP servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from shared.domain.json import JsonObject, JsonValue

PATH = ".codex/config.toml"
"""Relative to the session's home. Written anew at each start, so that nothing an agent puts there lasts."""

_SETTINGS = """\
model_provider = "corral"
check_for_update_on_startup = false
suppress_unstable_features_warning = true

[analytics]
enabled = false

[features]
apps = false
plugins = false
# A goal makes Codex start turns that nobody has prompted.
goals = false
default_mode_request_user_input = true

[tools.update_plan]
enabled = true

# `app-server` takes no key from the environment for its own provider (0.163.0); for one of ours it does. Named
# "OpenAI" it would be asked to compact on its side, which gateways in front of it cannot do.
[model_providers.corral]
name = "Corral"
base_url = "https://api.openai.com/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
"""

_NAMES: Mapping[str, str] = {"headers": "http_headers"}
"""Fields of an MCP server that Codex calls otherwise."""
_LEFT_OUT = frozenset({"type", "transport"})
"""It tells the kinds apart by `command` and `url`."""


def rendered(mcp_servers: JsonObject) -> bytes:
    """The file. Servers are given as in Claude Code's `mcpServers`."""
    lines = [_SETTINGS, *_servers(mcp_servers)]
    return "\n".join(lines).encode("utf-8", "replace")


def _servers(servers: JsonObject) -> Iterator[str]:
    for name, server in servers.items():
        if isinstance(server, dict):
            yield f"[mcp_servers.{_string(name)}]"
            for key, value in server.items():
                if key not in _LEFT_OUT and value is not None:
                    yield f"{_string(_NAMES.get(key, key))} = {_toml(value)}"
            yield ""


def _toml(value: JsonValue) -> str:
    match value:
        case str():
            return _string(value)
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(_toml(item) for item in value if item is not None)}]"
        case dict():
            members = (f"{_string(key)} = {_toml(item)}" for key, item in value.items() if item is not None)
            return f"{{{', '.join(members)}}}"
        case _:
            return json.dumps(value)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for pairs of surrogates (hence no ensure_ascii) and for DEL, which TOML forbids.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
