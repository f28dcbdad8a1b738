"""`corral start|status|restart|shutdown`: the same as `corral up`, in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import click

from cli.home import Home

_READY_S: Final = 60.0
_STOP_S: Final = 90.0
_POLL_S: Final = 0.1
_TOLD_LINES: Final = 15


def start(home: Home, port: int | None) -> str:
    """Start `corral up` detached, with this environment and `.env`; its URL once it is ready.

    Raises:
        ClickException: it runs already, or did not come up; says where its log is, and how the log ends.
    """
    if (pid := home.occupant()) is not None:
        raise click.ClickException(f"Corral already runs on {home.root} (process {pid}).")
    home.url.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "cli.main", "up", "--hide-key", "--home", str(home.root)]
    with os.fdopen(os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        begins_at = log.tell()
        process = subprocess.Popen(
            [*command, "--port", str(port)] if port else command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if home.url.exists():
            return home.url.read_text(encoding="utf-8").strip()
        time.sleep(_POLL_S)
    if process.poll() is None:
        process.terminate()
    raise click.ClickException(f"Corral did not come up. Its log is {home.log}:\n{_tail(home, begins_at)}")


def shutdown(home: Home) -> bool:
    """Stop it and wait until it is gone; False where it did not run.

    Raises:
        ClickException: it still runs after a minute and a half.
    """
    pid = home.occupant()
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while home.occupant() == pid:
        if time.monotonic() > deadline:
            raise click.ClickException(f"Process {pid} still runs. Its log is {home.log}.")
        time.sleep(_POLL_S)
    return True


def status(home: Home) -> str | None:
    """One line about what runs on this home; None where nothing does."""
    pid = home.occupant()
    if pid is None:
        return None
    return f"running, process {pid}, {_url(home) or 'still starting'}"


def port_of(home: Home) -> int | None:
    """The API's port of what runs on this home, None where nothing does."""
    return urlsplit(_url(home)).port if home.occupant() is not None else None


def _url(home: Home) -> str:
    with suppress(FileNotFoundError):
        return home.url.read_text(encoding="utf-8").strip()
    return ""


def _tail(home: Home, begins_at: int) -> str:
    with home.log.open("rb") as log:
        log.seek(begins_at)
        return "\n".join(log.read().decode(errors="replace").splitlines()[-_TOLD_LINES:])
