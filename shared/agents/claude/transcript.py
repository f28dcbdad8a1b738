"""Claude Code's own transcript: what is mirrored out of it, and how it is laid down for a resume."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence

from shared.agents.claude import frames
from shared.agents.driver import File
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject

CONFIG_DIR = ".claude"
"""`CLAUDE_CONFIG_DIR`, relative to the session's home."""
_NAMESPACE = uuid.UUID("5f0f6f0e-3c55-4f0a-9a6e-3b4c1c9f2b7d")
_MAX_SLUG = 200
_MASK = 0xFFFFFFFF
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def conversation_id(session: SessionId, entries: int) -> str:
    """The id of a conversation to be begun, where `entries` of an earlier one are known.

    Derived, so that launch and dialogue agree on it. It differs once there is an earlier conversation:
    Claude Code refuses to begin one under an id it has a file for.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{session}/{entries}" if entries else session))


def path_of(cwd: str, conversation: str) -> str:
    """Where Claude Code looks for a conversation, relative to the session's home. `cwd` is a real path."""
    return f"{CONFIG_DIR}/projects/{_slug(cwd)}/{conversation}.jsonl"


def _slug(cwd: str) -> str:
    # JavaScript counts UTF-16 units: a character beyond the first plane gives two dashes.
    units = cwd.encode("utf-16-le", "surrogatepass")
    codes = [units[place] | units[place + 1] << 8 for place in range(0, len(units), 2)]
    slug = re.sub("[^A-Za-z0-9]", "-", "".join(map(chr, codes)))
    # Seen in 2.1.329: a longer path is cut and told apart by its hash.
    return slug if len(slug) <= _MAX_SLUG else f"{slug[:_MAX_SLUG]}-{_hash(codes)}"


def _hash(codes: Sequence[int]) -> str:
    value = 0
    for code in codes:
        value = (value * 31 + code) & _MASK
    value = min(value, _MASK + 1 - value)
    digits = ""
    while value:
        value, digit = divmod(value, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits or "0"


def mirrored(frame: JsonObject) -> list[str]:
    """The entries of a `transcript_mirror` frame, as lines.

    Subagents' own files are left out: a resumed conversation does not read them.
    """
    if "/subagents/" in frames.text(frame, "filePath").replace("\\", "/"):
        return []
    return [json.dumps(entry, separators=(",", ":")) for entry in frames.objects(frame, "entries")]


def laid_down(cwd: str, conversation: str, entries: Sequence[str]) -> File | None:
    """The mirrored entries of `conversation` as the file Claude Code resumes from; None where there are none.

    An entry that came twice (mirrored, and read back from the file) is written once; entries of a
    conversation that `/clear` has left are dropped.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for entry in entries:
        frame = frames.parse(entry)
        if frame is None or frames.text(frame, "sessionId") not in ("", conversation):
            continue
        name = frames.text(frame, "uuid")
        if name and name in seen:
            continue
        seen.add(name)
        lines.append(entry.strip("\n"))
    if not lines:
        return None
    content = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    return File(path_of(cwd, conversation), content, keep_longer=True)
