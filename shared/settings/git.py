"""Settings of git: what workers may clone, with which credentials, and within which bounds."""

# ruff: noqa: RUF009 - `setting` is `dataclasses.field` with our metadata.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from shared.domain import parsing
from shared.domain.addresses import AddressRules
from shared.domain.git import ALLOW_SETTING, PORTS_SETTING, GitRules, tokens_of
from shared.domain.parsing import above_zero, count
from shared.settings.entry import Secret, setting


def _tokens(value: str) -> Secret:
    tokens_of(value)
    return Secret(value)


@dataclass(frozen=True, slots=True)
class Git:
    """Repositories that sessions work in clones of."""

    heading: ClassVar[str] = "Git"
    tokens: Secret = setting(
        "CORRAL_GIT_TOKENS",
        Secret(""),
        "Credentials for https by host (comma separated): `github.com=ghp_…`, or `git.example:8443=user:token`. Every "
        "session may clone what they open; agents never see them.",
        _tokens,
    )
    ssh_key: str = setting("CORRAL_GIT_SSH_KEY", "", "File with the private key that ssh URLs are cloned with.", str)
    known_hosts: str = setting(
        "CORRAL_GIT_KNOWN_HOSTS", "", "known_hosts file of ssh servers; without it no ssh URL can be cloned.", str
    )
    ca_file: str = setting(
        "CORRAL_GIT_CA_FILE",
        "",
        "Certificates (PEM) that https servers of git are trusted by; the system's where unset.",
        str,
    )
    allow: tuple[str, ...] = setting(
        "CORRAL_GIT_ALLOW", (), "CIDRs (comma separated) git may reach beyond public addresses.", parsing.texts
    )
    ports: tuple[str, ...] = setting(
        "CORRAL_GIT_PORTS", ("22", "443"), "Ports git may use on public addresses; any on allowed CIDRs.", parsing.texts
    )
    timeout_s: float = setting("CORRAL_GIT_TIMEOUT_S", 300.0, "Seconds one step of a clone may take.", above_zero)
    size_limit: int = setting(
        "CORRAL_GIT_SIZE_LIMIT", 2 * 1024**3, "Bytes of a repository, and of a session's clone with its files.", count
    )
    mirrors_limit: int = setting(
        "CORRAL_GIT_MIRRORS_LIMIT",
        20 * 1024**3,
        "Bytes of the mirrors a volume keeps, so that the next clone is quick; the longest unused go first.",
        count,
    )

    def rules(self) -> GitRules:
        """The same as workspace kinds are handed it.

        Raises:
            ValueError: a CIDR or a port cannot be read.
        """
        return GitRules(
            addresses=AddressRules.read(
                self.allow, self.ports, allow_setting=ALLOW_SETTING, ports_setting=PORTS_SETTING
            ),
            tokens=tokens_of(self.tokens),
            ssh_key=_file(self.ssh_key),
            known_hosts=_file(self.known_hosts),
            ca_file=_file(self.ca_file),
            timeout_s=self.timeout_s,
            size_bytes=self.size_limit,
            mirrors_bytes=self.mirrors_limit,
        )


def _file(path: str) -> Path | None:
    return Path(path).expanduser() if path else None
