"""Runs git bounded in time and output, deaf to every configuration but ours.

A repository an agent can write runs what the agent wishes (fsmonitor, filters, hooks): git only enters one through
`run_in`, behind the session's walls and without a network. `run` is for repositories that are Corral's alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from shared.domain.errors_git import GitFailed, GitTimedOut, NotARepository
from shared.workspaces.kind import Place, SpawnSpec, Walls

_CONFIG: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "credential.helper=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "maintenance.auto=false",
    # Inside walls the files belong to another user than git runs as; outside only our own repositories are entered.
    "safe.directory=*",
)
_STDERR_BYTES: Final = 16 * 1024
_LOOK_S: Final = 0.1
"""Between two looks at the deadline and at what `watch` has to say."""
_PIECE: Final = 64 * 1024

# What git says (LC_ALL=C), in words that name neither paths nor hosts. First match wins; git 2.39 and 2.47.
_REASONS: Final[Sequence[tuple[str, str]]] = (
    (r"couldn't find remote ref|remote branch .* not found|unknown revision|not our ref", "there is no such ref"),
    (
        r"authentication failed|could not read (username|password)|permission denied \(|error: 40[13]|askpass",
        "the server refuses access; the operator sets credentials with CORRAL_GIT_TOKENS or CORRAL_GIT_SSH_KEY",
    ),
    (r"host key verification failed", "the server's ssh key is not in the file that CORRAL_GIT_KNOWN_HOSTS names"),
    (r"error: 30\d|unable to update url base", "the server has it at another address; use that (often with .git)"),
    (r"repository .* not found|error: 404|does not appear to be a git", "there is no such repository to be seen"),
    (r"could not resolve host", "the host's name is unknown"),
    (r"certificate|ssl", "the server's certificate cannot be trusted"),
    (r"failed to connect|connection (refused|reset|timed out)|could not connect", "the server cannot be reached"),
    (r"early eof|hung up unexpectedly|rpc failed|too slow|transfer closed", "the server broke off"),
    (r"no space left", "the worker's disk is full"),
    (r"transport '.*' not allowed", "this way to reach a repository is not allowed"),
    (r"already exists", "it exists already"),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one command may take. Statuses outside of `accepts` are failures."""

    timeout_s: float = 30.0
    output_bytes: int = 8 * 1024 * 1024
    accepts: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Reach:
    """What one command may reach beyond its repository: nothing, unless `protocols` (`https:ssh`) names it."""

    protocols: str = "none"
    config: Sequence[str] = ()
    """`key=value`, seen in the process list: no secrets."""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command wrote to stdout. `truncated`: there was more than its bound, and it was ended there."""

    output: bytes
    truncated: bool
    status: int


LEAST: Final = Bounds()
NOTHING: Final = Reach()


def run(
    args: Sequence[str],
    cwd: Path,
    *,
    bounds: Bounds = LEAST,
    reach: Reach = NOTHING,
    watch: Callable[[], None] | None = None,
) -> Answer:
    """Run `git <args>` in a folder no agent can write. Blocks: for threads.

    `watch` is called ten times a second and ends the command by raising.

    Raises:
        GitFailed: git is not installed, or the command failed; NotARepository, GitTimedOut are among these.
    """
    return _run(_spec(args, cwd, reach), args[0], bounds, watch)


def run_in(
    place: Place, walls: Walls, args: Sequence[str], *, bounds: Bounds = LEAST, openings: Sequence[Path] = ()
) -> Answer:
    """Run `git <args>` in a workspace an agent can write, behind `walls` and without a network. Blocks: for threads.

    A repository above the workspace is not seen. Callers that diff add `--no-ext-diff --no-textconv`.

    Raises:
        GitFailed: as for `run`.
    """
    spec = walls.enclose(_spec(args, place.root, NOTHING), place, network=False, openings=openings)
    return _run(spec, args[0], bounds, None)


def _spec(args: Sequence[str], cwd: Path, reach: Reach) -> SpawnSpec:
    program = shutil.which("git")
    if program is None:
        raise GitFailed(args[0], "it is not installed on the worker")
    config = [part for pair in (*_CONFIG, *reach.config) for part in ("-c", pair)]
    env = {
        "PATH": f"{Path(program).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": reach.protocols,
        "GIT_ATTR_NOSYSTEM": "1",
        # A folder that is no repository must not be taken for a part of one above it.
        "GIT_CEILING_DIRECTORIES": str(cwd.parent),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        **reach.env,
    }
    return SpawnSpec(argv=[program, "--no-pager", *config, *args], env=env, cwd=str(cwd))


def _run(spec: SpawnSpec, doing: str, bounds: Bounds, watch: Callable[[], None] | None) -> Answer:
    try:
        process = subprocess.Popen(
            list(spec.argv),
            env=dict(spec.env),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as trouble:
        raise GitFailed(doing, getattr(trouble, "strerror", None) or "an argument cannot be taken") from trouble
    with process:
        try:
            output, errors = _read(process, doing, bounds, watch)
        finally:
            # Also after its end: what it left behind has the group still, and may hold the pipes.
            _kill(process)
    if len(output) > bounds.output_bytes:
        return Answer(bytes(output[: bounds.output_bytes]), truncated=True, status=0)
    if process.returncode not in bounds.accepts:
        raise _failure(doing, process.returncode, errors.decode("utf-8", "replace"))
    return Answer(bytes(output), truncated=False, status=process.returncode)


def _read(
    process: subprocess.Popen[bytes], doing: str, bounds: Bounds, watch: Callable[[], None] | None
) -> tuple[bytearray, bytearray]:
    output, errors = bytearray(), bytearray()
    deadline = time.monotonic() + bounds.timeout_s
    with selectors.DefaultSelector() as ready:
        for pipe, kept in ((process.stdout, output), (process.stderr, errors)):
            ready.register(_open(pipe), selectors.EVENT_READ, kept)
        while len(output) <= bounds.output_bytes:
            has_ended = process.poll() is not None
            # Whatever an ended process wrote is in the pipe by now; a child that keeps it open is not waited for.
            if not _take(ready, 0.0 if has_ended else _LOOK_S) and has_ended:
                break
            del errors[:-_STDERR_BYTES]
            if time.monotonic() > deadline:
                raise GitTimedOut(doing, bounds.timeout_s)
            if watch is not None:
                watch()
    return output, errors


def _take(ready: selectors.BaseSelector, wait_s: float) -> bool:
    """Read one piece of each pipe that has something; whether there was any."""
    if not ready.get_map():
        # Both are closed while it still runs: nothing to wait on but its end.
        time.sleep(wait_s / 5)
        return False
    taken = False
    for key, _ in ready.select(wait_s):
        piece = os.read(key.fd, _PIECE)
        key.data.extend(piece)
        taken = taken or bool(piece)
        if not piece:
            ready.unregister(key.fileobj)
    return taken


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise GitFailed("start", "it has no pipe")
    return pipe


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(doing: str, status: int, errors: str) -> GitFailed:
    said = errors.lower()
    if "not a git repository" in said:
        return NotARepository(doing)
    for pattern, problem in _REASONS:
        if re.search(pattern, said):
            return GitFailed(doing, problem)
    return GitFailed(doing, f"it ended with status {status}")
