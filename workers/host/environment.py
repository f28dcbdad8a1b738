"""The environment an agent gets: an allow-list of the worker's own, what operator and caller add, a home of its own.

Everything else of the worker's environment (database, secret key, tokens) stays out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shared.domain.ids import SessionId
from workers.host.tree import MARK

ALLOWED: Final = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR"})
ALLOWED_PREFIX: Final = "LC_"


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the worker's own environment agents may see."""
    return {name: value for name, value in environ.items() if name in ALLOWED or name.startswith(ALLOWED_PREFIX)}


def given(environ: Mapping[str, str], child_env: Mapping[str, str]) -> dict[str, str]:
    """What every agent gets, whoever's it is: of the worker's own environment, and what the operator adds."""
    return {**allowed(environ), **child_env}


def of_agent(session: SessionId, home: Path, *layers: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one agent: `layers` in order, later ones win, then what nobody may change.

    HOME and TMPDIR are the session's own; the mark names the session, so that its processes can be found.
    """
    merged: dict[str, str] = {}
    for layer in layers:
        merged |= layer
    return merged | {"HOME": str(home), "TMPDIR": str(temporary(home)), MARK: session}


def temporary(home: Path) -> Path:
    """The session's folder for temporary files. The host makes it before the agent starts."""
    return home / "tmp"
