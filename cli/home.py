"""The state directory of `corral up`: database, workspaces, embedded Redis, secret key, first API key."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

DEFAULT: Final = "~/.corral"
_POLL_S: Final = 0.05
_LOOKS: Final = 20


@dataclass(frozen=True, slots=True)
class Home:
    """Where `corral up` keeps everything. All of it is readable by its owner only."""

    root: Path

    @property
    def database(self) -> Path:
        """The file of the embedded database."""
        return self.root / "corral.db"

    @property
    def database_url(self) -> str:
        """The embedded database."""
        return f"sqlite:///{self.database}"

    @property
    def workspaces(self) -> Path:
        """The volume sessions work on."""
        return self.root / "workspaces"

    @property
    def redis(self) -> Path:
        """The embedded Redis' append-only files."""
        return self.root / "redis"

    @property
    def api_key(self) -> Path:
        """The first API key, mode 0600."""
        return self.root / "api_key"

    @property
    def pid(self) -> Path:
        """Process id of the running `corral up`, which holds a lock on this file; what a dead one left says nothing."""
        return self.root / "corral.pid"

    @property
    def log(self) -> Path:
        """What `corral start` logs to."""
        return self.root / "corral.log"

    @property
    def url(self) -> Path:
        """Where the running `corral up` answers."""
        return self.root / "url"

    @property
    def secret_key_file(self) -> Path:
        """What stands for CORRAL_SECRET_KEY here, mode 0600."""
        return self.root / "secret_key"

    def secret_key(self) -> str:
        """The secret key of this home; made at the first call."""
        if not self.secret_key_file.exists():
            write_private(self.secret_key_file, secrets.token_urlsafe(48))
        return self.secret_key_file.read_text(encoding="utf-8").strip()

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Be the only `corral up` of this home while the block runs. A crash, kill -9 included, frees it.

        Raises:
            ClickException: another one runs on it; says its process id.
        """
        # The file stays when the lock goes: a lock on a file that somebody else removes keeps nobody out.
        with os.fdopen(os.open(self.pid, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            if not _locked(file.fileno()):
                raise click.ClickException(
                    f"Corral already runs on {self.root} (process {self.occupant()}). Use another --home, or stop it."
                )
            file.truncate()
            file.write(f"{os.getpid()}\n".encode())
            try:
                yield
            finally:
                file.seek(0)
                file.truncate()

    def occupant(self) -> int | None:
        """Process id of the `corral up` that runs on this home, None where none does."""
        for _ in range(_LOOKS):
            try:
                with self.pid.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except FileNotFoundError:
                return None
            except BlockingIOError:
                # It is written right after the lock is taken.
                if (text := self.pid.read_text(encoding="ascii").strip()).isdigit():
                    return int(text)
                time.sleep(_POLL_S)
        return None


def _locked(file: int) -> bool:
    for _ in range(_LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Whoever only looks holds a lock too, for a moment.
            time.sleep(_POLL_S)
        else:
            return True
    return False


def find_home(path: str) -> Home:
    """The home at `path`, whether it is there or not. Changes nothing."""
    return Home(Path(path).expanduser().resolve())


def open_home(path: str) -> Home:
    """The home at `path`, made where it is missing, closed to other users."""
    home = find_home(path)
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.workspaces.mkdir(exist_ok=True, mode=0o700)
    home.redis.mkdir(exist_ok=True, mode=0o700)
    return home


def write_private(path: Path, text: str) -> None:
    """Write `text` to a file that nobody else could read at any moment; whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
