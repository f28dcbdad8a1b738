"""What processes behind walls see of the machine, and how much of it they may use: the same for every kind of wall."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.workspaces.existing import is_beneath

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Programs and libraries. On most systems all but the first are links into it."""

ETC: Final = tuple(
    f"/etc/{name}"
    for name in (
        # Names, time and resolving.
        *("group", "host.conf", "hosts", "localtime", "nsswitch.conf", "passwd", "protocols", "resolv.conf"),
        *("services", "timezone", "gai.conf"),
        # Libraries, and programs with several makers.
        *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
        # Certificates, without the private keys beside them.
        *("ca-certificates", "ca-certificates.conf", "crypto-policies", "pki/ca-trust", "pki/tls/cert.pem"),
        *("pki/tls/certs", "pki/tls/openssl.cnf", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf"),
        # What every user's programs are set up with.
        *("bash.bashrc", "gitconfig", "inputrc", "locale.alias", "locale.conf", "mime.types", "profile"),
        *("ssh/ssh_config", "ssh/ssh_known_hosts"),
        # Policies an operator lays down for agents: unseen, they would not hold.
        *("claude-code", "codex", "gemini-cli", "opencode"),
    )
)
"""What of /etc programs need. Not the whole: it holds password hashes and private keys."""

_LOADERS: Final = ("LD_", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "NLSPATH")
"""Variables that decide what code a program runs. A session may set them; what puts walls up runs outside of them."""

MAX_FILE_BYTES: Final = 16 * 1024**3
MAX_OPEN_FILES: Final = 65_536
MAX_PROCESSES: Final = 4096
"""Threads count. The kernel does not hold root to it; the warden counts processes whoever runs them."""


@dataclass(frozen=True, slots=True)
class View:
    """What is seen besides the system, the place and the openings."""

    readable: Sequence[Path] = ()
    """Files and folders that may be read and run."""
    hidden: Sequence[Path] = ()
    """Folders that must not be seen even where something above them is: the volume, the database's folder."""

    @property
    def shown(self) -> list[Path]:
        """The readable ones that are there, outside of the system; what is in a folder of them is left out."""
        found: list[Path] = []
        for path in sorted(self.readable, key=lambda path: len(path.parts)):
            if path.exists() and not is_beneath(path, [*map(Path, SYSTEM), *found]):
                found.append(path)
        return found


OWNERS: Final = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3}
"""What root needs to work in a folder of somebody else, with the kernel's numbers."""


def real(path: Path) -> Path:
    """`path` without links, whether it is there or may be looked at."""
    return Path(os.path.realpath(path))


def is_above(path: Path, others: Sequence[Path]) -> bool:
    """Whether `path` is one of the others or holds one."""
    return any(other.is_relative_to(path) for other in others)


def make(
    *, given: Mapping[str, str], commands: Sequence[Sequence[str]], more: Sequence[Path], hidden: Sequence[Path]
) -> View:
    """What an operator means agents to see, all of it from what the operator said and nothing from a session.

    given: the environment every agent gets; what its values name may be read, and what PATH names run.
    commands: how agents are started. more: further files and folders. hidden: what none of this may show.
    """
    private = [real(folder) for folder in (*hidden, Path.home(), Path("/root"), Path("/home"))]
    folders = [Path(name) for name in given.get("PATH", "").split(os.pathsep)]
    # A shim starts what lies beneath the folder above (~/.pyenv/shims, ~/.asdf/shims) and is no use without.
    folders += [folder.parent for folder in folders if folder.name == "shims"]
    named = [Path(value) for value in given.values()]
    programs = [path for command in commands for path in _program(command, given.get("PATH"))]
    found = [path for path in (*folders, *named, *programs) if path.is_absolute() and not _shows(path, private)]
    return View(readable=tuple(_twice([*found, *more])), hidden=tuple(map(real, hidden)))


def _shows(path: Path, private: Sequence[Path]) -> bool:
    named = real(path)
    return not named.exists() or is_above(named, private) or len(named.parts) == 1


def _twice(paths: Sequence[Path]) -> list[Path]:
    """Each with what it is a link to, so that both names can be followed."""
    return list(dict.fromkeys(one for path in paths for one in (path, real(path))))


def _program(command: Sequence[str], search: str | None) -> list[Path]:
    found = shutil.which(command[0], path=search) if command else None
    if found is None:
        return []
    entry, file = Path(found), real(Path(found))
    # A script of Node finds its modules beside what it is a link to, and often far above.
    modules = next((above for above in file.parents if above.name == "node_modules"), file.parent)
    return [entry.parent, entry, modules, file, *(Path(word) for word in command[1:] if Path(word).is_file())]


def outside(env: Mapping[str, str]) -> dict[str, str]:
    """What of an agent's environment the program that puts up the walls may have."""
    return {name: value for name, value in env.items() if not name.startswith(_LOADERS)}


def inside(program: str, env: Mapping[str, str]) -> list[str]:
    """The words that set the rest once the walls stand; `program` is the path of `env`."""
    rest = [f"{name}={value}" for name, value in env.items() if name.startswith(_LOADERS)]
    return [program, *rest] if rest else []


def is_foreign(root: Path) -> bool:
    """Whether root, whom nothing holds up, works in a folder of somebody else; without capabilities it could not."""
    try:
        return os.geteuid() == 0 and root.stat().st_uid != 0
    except OSError:
        return False


def limits() -> dict[str, tuple[int, int]]:
    """Soft and hard limit of each resource, by the name prlimit has for it; none above what this process has."""
    return {
        "core": (0, 0),
        "fsize": _capped(resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        "nofile": _capped(resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        "nproc": _capped(resource.RLIMIT_NPROC, MAX_PROCESSES),
    }


def _capped(which: int, most: int) -> tuple[int, int]:
    soft, hard = (most if value == resource.RLIM_INFINITY else min(value, most) for value in resource.getrlimit(which))
    return soft, hard
