"""Settings of egress: which domains agents may reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from shared.domain import addresses, parsing
from shared.domain.domains import AllowList
from shared.settings.entry import setting


@dataclass(frozen=True, slots=True)
class Egress:
    """Where agents may go. The API reads it as well: it refuses lists that no worker would hold."""

    heading: ClassVar[str] = "Network of agents"
    mode: str = setting(
        "CORRAL_EGRESS",
        "listed",
        "`listed`: agents reach the domains of these lists alone, and humans are asked for others; held where walls "
        "stand that cut the network. `open`: agents reach whatever the machine reaches.",
        parsing.one_of("listed", "open"),
    )
    domains: tuple[str, ...] = setting(
        "CORRAL_ALLOWED_DOMAINS",
        (),
        "Domains (comma separated) every agent may reach, beside those of its model and of its session: "
        "`example.org`, `*.example.org` (all beneath), either with `:port`; without one 80 and 443.",
        parsing.texts,
    )
    networks: tuple[str, ...] = setting(
        "CORRAL_EGRESS_NETWORKS",
        (),
        "CIDRs (comma separated) that listed domains may lead to although they are not public.",
        parsing.texts,
    )

    @property
    def is_listed(self) -> bool:
        """Whether agents are to be held to lists."""
        return self.mode == "listed"

    def check(self) -> None:
        """Read what the lists hold.

        Raises:
            ValueError: an entry cannot be taken; the message names the setting and the entry.
        """
        addresses.networks(self.networks, "CORRAL_EGRESS_NETWORKS")
        try:
            AllowList.read(self.domains)
        except ValueError as problem:
            raise ValueError(f"CORRAL_ALLOWED_DOMAINS: {problem}") from problem
