"""Codex's own record of a conversation (its rollout): how it is mirrored, and laid down again for a resume.

Codex names the file itself and says where it is. It is read through Codex, in pieces: a conversation of a day has
tens of megabytes, and after a turn only its last lines are new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.agents import jsonlines
from shared.agents.driver import File
from shared.domain.json import JsonObject

CODEX_HOME = ".codex"
"""Relative to the session's home."""
READ_BYTES = 4 * 1024 * 1024
READ_MS = 5000
_PLACE = "corral_rollout"
"""The type of the first mirrored entry, which is ours: where the file lay."""
_PLACE_LINE = f'{{"type":"{_PLACE}"'
_BEGUN = re.compile(r'"timestamp"\s*:\s*"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)')
_NO_DATE = ("2025", "01", "01", "00", "00", "00")
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class Rollout:
    """A mirrored conversation."""

    path: str
    """Relative to the session's home; empty where nothing was mirrored."""
    content: bytes

    def laid_down(self) -> File:
        """The file Codex resumes from."""
        return File(self.path, self.content, keep_longer=True)


def read(conversation: str | None, entries: Sequence[str]) -> Rollout:
    """The mirrored entries of a conversation. An entry that came twice (mirrored, and read back) is written once.

    A transcript that was made outside of Corral does not say where it lay; any place for its id will do.
    """
    lines = [entry.strip("\n") for entry in entries]
    places = [line for line in lines if line.startswith(_PLACE_LINE)]
    kept = [line for line in dict.fromkeys(lines) if line and not line.startswith(_PLACE_LINE)]
    if not kept or not conversation:
        return Rollout("", b"")
    path = _place_in(places[-1]) if places else ""
    content = "".join(f"{line}\n" for line in kept).encode("utf-8", "replace")
    return Rollout(path or _derived(conversation, kept[0]), content)


def _place_in(line: str) -> str:
    path = jsonlines.text(jsonlines.parse(line) or {}, "path")
    is_inside = path.startswith(f"{CODEX_HOME}/sessions/") and ".." not in path.split("/")
    return path if is_inside and path.endswith(".jsonl") else ""


def _derived(conversation: str, first: str) -> str:
    begun = _BEGUN.search(first)
    year, month, day, *time = begun.groups() if begun else _NO_DATE
    name = conversation if _ID.fullmatch(conversation) else "unknown"
    return f"{CODEX_HOME}/sessions/{year}/{month}/{day}/rollout-{year}-{month}-{day}T{'-'.join(time)}-{name}.jsonl"


class Mirror:
    """How far the rollout of the running conversation is mirrored."""

    def __init__(self, home: str) -> None:
        self._home = home.rstrip("/")
        self._path = ""
        self._offset = 0
        self._is_told = False

    def begin(self, path: str, *, known: int = 0) -> None:
        """Codex keeps this conversation in `path`, absolute, of which `known` bytes are mirrored."""
        self._path, self._offset, self._is_told = path, known, known > 0

    def next(self) -> JsonObject | None:
        """Params of the `command/exec` that reads on; None where nothing is to be read."""
        if not self._path.startswith("/"):
            return None
        return {
            "command": ["tail", "-c", f"+{self._offset + 1}", self._path],
            "outputBytesCap": READ_BYTES,
            "timeoutMs": READ_MS,
            "sandboxPolicy": {"type": "dangerFullAccess"},
        }

    def take(self, result: JsonObject) -> tuple[list[str], bool]:
        """New entries from what was read, and whether there is more of them."""
        text = jsonlines.text(result, "stdout")
        whole = text[: text.rfind("\n") + 1]
        if jsonlines.number(result, "exitCode") != 0.0 or (text and not whole):
            # No `tail` here, no such file, or a line beyond all measure: what is mirrored stays.
            self._path = ""
            return [], False
        read = len(whole.encode("utf-8", "replace"))
        self._offset += read
        entries = [line for line in whole.split("\n") if line and jsonlines.parse(line) is not None]
        more = len(text.encode("utf-8", "replace")) >= READ_BYTES
        return [*self._place(entries), *entries], more

    def stop(self) -> None:
        """It cannot be read."""
        self._path = ""

    def _place(self, entries: Sequence[str]) -> list[str]:
        inside = self._path.removeprefix(f"{self._home}/")
        if self._is_told or not entries or inside == self._path:
            return []
        self._is_told = True
        return [json.dumps({"type": _PLACE, "path": inside}, separators=(",", ":"))]
