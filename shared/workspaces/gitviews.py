"""What git says of a workspace: its diff, status and log, bounded. Changes nothing.

The repository is the agent's: its configuration may name programs, so git runs behind the session's walls only. What
git does not know yet is read by the opener, as any file of the workspace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from shared.domain.errors import CorralError, InvalidField
from shared.workspaces import opener
from shared.workspaces.gitcmd import Answer, Bounds, run_in
from shared.workspaces.kind import Place, Walls

TIMEOUT_S: Final = 15.0
DIFF_BYTES: Final = 2 * 1024 * 1024
"""Longest diff; what goes beyond is cut."""
NEW_BYTES: Final = 256 * 1024
"""Most bytes of one file git does not know that are shown."""
NEW_FILES: Final = 500
ENTRIES: Final = 5000
MAX_LOG: Final = 500
_LOG_BYTES: Final = 2 * 1024 * 1024
_REF = re.compile(r"[A-Za-z0-9][\w./@~^-]{0,199}")
_COMMIT_FIELDS: Final = 5
_ORDINARY: Final = 9
"""Fields of an ordinary line of `status --porcelain=v2`; the path is the last."""
_QUIET: Final = (
    "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", "--src-prefix=a/", "--dst-prefix=b/",
    "-O/dev/null",
)  # fmt: skip

Git = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Diff:
    """The workspace against a commit, files git does not know included. `truncated`: there is more."""

    base: str | None
    """The commit; None: the repository has none yet."""
    text: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs. `status`: added, modified, deleted, renamed, copied, retyped, conflicted or untracked."""

    path: str
    status: str
    staged: bool
    old_path: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Where the repository stands."""

    branch: str | None
    """None: the head is detached."""
    head: str | None
    upstream: str | None
    ahead: int
    behind: int
    changes: tuple[Change, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of the log."""

    id: str
    parents: tuple[str, ...]
    author: str
    at: str
    """RFC 3339, as its author's clock had it."""
    subject: str


def diff(place: Place, walls: Walls, *, base: str = "HEAD") -> Diff:
    """The unified diff from the commit `base` to the files as they are now.

    Raises:
        InvalidField: `base` names no commit.
        NotARepository, GitTimedOut, GitFailed: git cannot tell.
    """
    git = _git(place, walls)
    commit = _commit(git, base)
    against = commit or git(["hash-object", "-t", "tree", "/dev/null"]).output.decode().strip()
    answer = git(["diff", *_QUIET, against, "--"], bounds=Bounds(TIMEOUT_S, DIFF_BYTES))
    if answer.truncated:
        return Diff(commit, _text(answer.output), truncated=True)
    parts, room = [_text(answer.output)], DIFF_BYTES - len(answer.output)
    paths, truncated = _untracked(git)
    for path in paths:
        part = _new_file(place, path)
        room -= len(part)
        if room < 0:
            truncated = True
            break
        parts.append(part)
    return Diff(commit, "".join(parts), truncated)


def status(place: Place, walls: Walls) -> Status:
    """What differs from the last commit, and from the branch it follows.

    Raises:
        NotARepository, GitTimedOut, GitFailed: git cannot tell.
    """
    args = ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=all"]
    answer = _git(place, walls)(args, bounds=Bounds(TIMEOUT_S, DIFF_BYTES))
    lines = _text(answer.output).split("\0")[:-1]
    told = dict(
        line.removeprefix("# ").split(" ", 1) for line in lines if line.startswith("# ") and line.count(" ") > 1
    )
    changes = list(_changes([line for line in lines if not line.startswith("# ")]))
    branch, head = told.get("branch.head"), told.get("branch.oid")
    ahead, behind = _ahead(told.get("branch.ab", ""))
    return Status(
        branch=None if branch == "(detached)" else branch,
        head=None if head == "(initial)" else head,
        upstream=told.get("branch.upstream"),
        ahead=ahead,
        behind=behind,
        changes=tuple(changes[:ENTRIES]),
        truncated=answer.truncated or len(changes) > ENTRIES,
    )


def log(place: Place, walls: Walls, *, limit: int, skip: int = 0) -> tuple[Commit, ...]:
    """Commits reachable from the head, newest first.

    Raises:
        NotARepository, GitTimedOut, GitFailed: git cannot tell.
    """
    git = _git(place, walls)
    if _commit(git, "HEAD") is None:
        return ()
    # NUL, since no part of a commit can hold it.
    form = "--format=%H%x00%P%x00%an%x00%aI%x00%s"
    args = ["log", "-z", "--no-show-signature", "--no-color", "--no-mailmap", form, f"-n{limit}", f"--skip={skip}"]
    answer = git([*args, "HEAD", "--"], bounds=Bounds(TIMEOUT_S, _LOG_BYTES))
    parts = iter(_text(answer.output).split("\0"))
    rows = zip(*[parts] * _COMMIT_FIELDS, strict=False)
    return tuple(Commit(id_, tuple(parents.split()), author, at, subject) for id_, parents, author, at, subject in rows)


def _git(place: Place, walls: Walls) -> Git:
    return partial(run_in, place, walls, bounds=Bounds(TIMEOUT_S), openings=place.openings)


def _commit(git: Git, name: str) -> str | None:
    """The commit `name` names; None: HEAD, before the first commit."""
    if not _REF.fullmatch(name) or ".." in name:
        raise InvalidField("base", "must be the name of a branch, tag or commit")
    args = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    answer = git(args, bounds=Bounds(TIMEOUT_S, accepts=frozenset({0, 1})))
    found = answer.output.decode("ascii", "replace").strip()
    if not found and name != "HEAD":
        raise InvalidField("base", "names no commit of the workspace's repository")
    return found or None


def _untracked(git: Git) -> tuple[list[str], bool]:
    """Paths git does not know and is not told to ignore, and whether there are more."""
    answer = git(["ls-files", "--others", "--exclude-standard", "-z"], bounds=Bounds(TIMEOUT_S, DIFF_BYTES))
    paths = [os.fsdecode(raw) for raw in answer.output.split(b"\0")[:-1]]
    return paths[:NEW_FILES], answer.truncated or len(paths) > NEW_FILES


def _new_file(place: Place, path: str) -> str:
    """The diff of a file git does not know, as `git diff` would show it once it was added."""
    try:
        data = opener.read(place.root, path, limit=NEW_BYTES + 1).data
    except CorralError:
        # Gone by now, or nothing the files API would read: a symlink out, a pipe, a repository of its own.
        return ""
    name = _shown(path)
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    if b"\0" in data:
        return f"{head}Binary files /dev/null and b/{name} differ\n"
    if len(data) > NEW_BYTES:
        return f"{head}Too large to be shown\n"
    if not data:
        return head
    lines = _text(data).split("\n")
    ends_whole = lines[-1] == ""
    lines = lines[:-1] if ends_whole else lines
    shown = "".join(f"+{line}\n" for line in lines)
    tail = "" if ends_whole else "\\ No newline at end of file\n"
    count = "" if len(lines) == 1 else f",{len(lines)}"
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1{count} @@\n{shown}{tail}"


def _changes(lines: Sequence[str]) -> Iterator[Change]:
    rest = iter(lines)
    for line in rest:
        kind, _, _ = line.partition(" ")
        if kind == "?":
            yield Change(line[2:], "untracked", staged=False)
        elif kind == "u":
            yield Change(line.split(" ", 10)[10], "conflicted", staged=False)
        elif kind == "1":
            fields = line.split(" ", _ORDINARY - 1)
            yield Change(fields[-1], _word(fields[1]), staged=fields[1][0] != ".")
        elif kind == "2":
            fields = line.split(" ", _ORDINARY)
            yield Change(fields[-1], _word(fields[1]), staged=fields[1][0] != ".", old_path=next(rest, None))


def _word(letters: str) -> str:
    words = {"A": "added", "D": "deleted", "R": "renamed", "C": "copied", "T": "retyped", "U": "conflicted"}
    return next((words[letter] for letter in "UARCDT" if letter in letters), "modified")


def _ahead(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"\+(\d+) -(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _shown(path: str) -> str:
    return "".join(letter if letter.isprintable() else f"\\{ord(letter):03o}" for letter in _text(os.fsencode(path)))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
