"""What the operator lets agents of this worker reach, whoever's they are."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

from shared.domain.addresses import Network, networks
from shared.domain.domains import AllowList
from shared.workspaces.kind import Walls
from workers.host.egress.request import Authority

_PORTS: Final = {"http": 80, "https": 443}
# ANTHROPIC_BASE_URL=…, base_url="…" of Codex, "baseURL": "…" of OpenCode.
_BASE_URL: Final = re.compile(r"""base_?url["']?\s*[=:]\s*["']?(https?://[^\s"'\\]+)""", re.IGNORECASE)
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy"})


class Said(Protocol):
    """What an operator says that bears on it, as settings have it."""

    @property
    def egress(self) -> Lists:
        """The lists."""
        ...

    @property
    def child_env(self) -> Mapping[str, str]:
        """`CHILD_ENV_*`."""
        ...

    @property
    def agent_commands(self) -> Mapping[str, str]:
        """How agents are started, where that is set."""
        ...


class Lists(Protocol):
    """The settings of egress."""

    @property
    def is_listed(self) -> bool:
        """Whether agents are to be held to lists."""
        ...

    @property
    def domains(self) -> Sequence[str]:
        """What every agent may reach."""
        ...

    @property
    def networks(self) -> Sequence[str]:
        """CIDRs that listed domains may lead to."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """Egress by list, as settings say it."""

    listed: AllowList = field(default_factory=AllowList)
    networks: Sequence[Network] = ()
    """Networks that listed names may lead to although they are not public."""
    named: frozenset[Authority] = frozenset()
    """Where base URLs lead that the operator gives agents: the operator's word, so they may lead anywhere."""

    @property
    def doors(self) -> Sequence[Authority]:
        """Those of `named` on this machine's loopback: an agent finds them at the same port of its own loopback."""
        return sorted((one for one in self.named if is_loopback(one.host)), key=lambda one: (one.port, one.host))


def held(said: Said, walls: Walls) -> Policy | None:
    """What agents of this worker are held to; None where nothing holds them, or nothing is to."""
    lists = said.egress
    if not lists.is_listed or not walls.cuts_network:
        return None
    allowed = networks(lists.networks, "CORRAL_EGRESS_NETWORKS")
    return Policy(AllowList.read(lists.domains), allowed, named_by(said.child_env, said.agent_commands.values()))


def troubles(said: Said, walls: Walls) -> list[str]:
    """What an operator should know who wants agents held to lists, in sentences."""
    if not said.egress.is_listed:
        return []
    if not walls.cuts_network:
        return ["No wall here cuts the network: agents reach all that this machine does, whatever lists say."]
    if any(name.lower() in _PROXIES for name in said.child_env):
        return ["CHILD_ENV_ names a proxy, and agents held to lists go out without it: see docs/egress.md."]
    return []


def named_by(child_env: Mapping[str, str], commands: Iterable[str]) -> frozenset[Authority]:
    """Where the base URLs lead that an operator gives agents: in `CHILD_ENV_*`, or in how they are started."""
    texts = [*(f"{name}={value}" for name, value in child_env.items()), *commands]
    urls = (found[1] for text in texts for found in _BASE_URL.finditer(text))
    return frozenset(found for url in urls if (found := _authority(url)) is not None)


def is_loopback(host: str) -> bool:
    """Whether this names the very machine it is said on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _authority(url: str) -> Authority | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    return Authority(parts.hostname.lower(), port)
