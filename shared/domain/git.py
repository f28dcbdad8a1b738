"""Which repositories may be cloned, with which credentials and within which bounds; what names one. Reaches nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from shared.domain.addresses import AddressRules
from shared.domain.errors import InvalidField
from shared.domain.json import JsonValue

PORTS: Final[Mapping[str, int]] = {"https": 443, "ssh": 22}
ALLOW_SETTING: Final = "CORRAL_GIT_ALLOW"
PORTS_SETTING: Final = "CORRAL_GIT_PORTS"

_GITHUB: Final = re.compile(r"(?P<owner>[A-Za-z0-9][A-Za-z0-9-]{0,99})/(?P<name>[A-Za-z0-9_][\w.-]{0,99})", re.ASCII)
_SCP: Final = re.compile(r"(?P<user>[a-z_][a-z0-9_-]{0,31})@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/:].*)", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
# No white space, quotes, shell or glob characters; %xx only of what can be printed.
_PATH: Final = re.compile(r"(/([\w.+~@]|%[2-7][0-9A-Fa-f])([\w.+~@-]|%[2-7][0-9A-Fa-f])*)+/?", re.ASCII)
_REF: Final = re.compile(r"[A-Za-z0-9][\w./-]{0,249}", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_URL_CHARACTERS: Final = 2048


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository on a server, before any resolving. `url` holds no password."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def place(self) -> str:
        """`host`, with the port where it is not the scheme's own: what credentials are named by."""
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class GitRules:
    """What the operator lets git do on a worker."""

    addresses: AddressRules = field(
        default_factory=lambda: AddressRules((), frozenset(PORTS.values()), ALLOW_SETTING, PORTS_SETTING)
    )
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By `Remote.place`: a token, or `user:token`."""
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 300.0
    size_bytes: int = 2 * 1024**3
    """Of one mirror, and of one session's clone with its files."""
    mirrors_bytes: int = 20 * 1024**3
    """Of all mirrors of a volume; the longest unused go first."""


def remote_of(value: JsonValue, named: str = "workspace.url") -> Remote:
    """The repository that `https://…`, `ssh://…`, `user@host:path` or `owner/repo` (GitHub's) names.

    Raises:
        InvalidField: it names none that could be cloned; says why.
    """
    if not isinstance(value, str) or not value:
        raise InvalidField(named, "must be a text: https://…, ssh://…, or owner/repo on GitHub")
    if len(value) > _URL_CHARACTERS:
        raise InvalidField(named, f"must have at most {_URL_CHARACTERS} characters")
    # urlsplit would drop line ends in silence.
    if not value.isprintable() or " " in value or "\\" in value:
        raise InvalidField(named, "holds white space, control characters or a backslash")
    if (github := _GITHUB.fullmatch(value)) and not github["name"].endswith("."):
        value = f"https://github.com/{github['owner']}/{github['name'].removesuffix('.git')}.git"
    elif scp := _SCP.fullmatch(value):
        value = f"ssh://{scp['user']}@{scp['host']}/{scp['path']}"
    return _parsed(value, named)


def _parsed(value: str, named: str) -> Remote:
    try:
        parts = urlsplit(value)
        port, host = parts.port, (parts.hostname or "").lower()
    except ValueError as trouble:
        raise InvalidField(named, "cannot be read as a URL") from trouble
    if parts.scheme not in PORTS or not value.startswith(f"{parts.scheme}://"):
        raise InvalidField(named, "must begin with https:// or ssh://, or be owner/repo on GitHub")
    user, at, _ = parts.netloc.rpartition("@")
    if at and not (parts.scheme == "ssh" and _USER.fullmatch(user)):
        raise InvalidField(named, "must not hold a user name or password; the operator sets CORRAL_GIT_TOKENS")
    if not _HOST.fullmatch(host) or ".." in host or port == 0:
        raise InvalidField(named, "names no host, or one that cannot be taken")
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise InvalidField(named, "must end with the path: no ? and no #")
    if not _PATH.fullmatch(parts.path) or {"..", "."} & set(parts.path.split("/")):
        raise InvalidField(named, "has a path that cannot be taken; letters, digits and . _ ~ + @ - / can")
    port = port or PORTS[parts.scheme]
    shown = host if port == PORTS[parts.scheme] else f"{host}:{port}"
    who = f"{user or 'git'}@" if parts.scheme == "ssh" else ""
    return Remote(f"{parts.scheme}://{who}{shown}{parts.path.rstrip('/')}", parts.scheme, host, port)


def ref_of(value: JsonValue, named: str = "workspace.ref") -> str:
    """A branch, a tag or a whole commit id.

    Raises:
        InvalidField: git could take it for something else.
    """
    wrong = ("..", "//", "/.")
    if (
        not isinstance(value, str)
        or not _REF.fullmatch(value)
        or any(part in value for part in wrong)
        or any(part.endswith((".lock", ".")) for part in value.split("/"))
        or value.endswith("/")
    ):
        raise InvalidField(named, "must be a branch, a tag or a whole commit id: a letter or digit, then also . _ / -")
    return value


def is_commit(ref: str) -> bool:
    """Whether it is a whole commit id rather than a name."""
    return _COMMIT.fullmatch(ref) is not None


def tokens_of(text: str) -> dict[str, str]:
    """`host=token` between commas, by host (`host:port`).

    Raises:
        ValueError: a part has no host or no token; the message holds neither.
    """
    found: dict[str, str] = {}
    for number, part in enumerate(filter(None, (one.strip() for one in text.split(","))), 1):
        host, _, token = part.partition("=")
        if not host.strip() or not token.strip() or any(not letter.isprintable() for letter in token):
            msg = f"part {number} is not host=token"
            raise ValueError(msg)
        found[host.strip().lower()] = token.strip()
    return found
