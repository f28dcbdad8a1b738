"""What the demo agent remembers of a conversation: a JSONL file in its HOME."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Self

Entry = dict[str, Any]

SUMMARY_CHARACTERS = 60
"""What a compacted prompt keeps."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Memory:
    """The transcript of one conversation. `resumed` tells whether earlier entries were found."""

    def __init__(self, folder: Path, session_id: str) -> None:
        self.session_id = session_id
        self.entries: list[Entry] = []
        self.resumed = False
        self._folder = folder
        self._clean_end = True

    def copy(self, source: Memory) -> None:
        """Begin with what `source` remembers.

        Raises:
            OSError: the folder cannot be written.
        """
        self.start()
        for entry in source.entries:
            self.add(entry)
        self.resumed = source.resumed

    def start(self) -> None:
        """Begin an empty transcript, in place of one of the same name.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.write_bytes(b"")

    def resume(self) -> None:
        """Read back what an earlier process, or the host, has left; nothing when there is no such transcript."""
        if not is_session_id(self.session_id):
            return
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        # A process that was killed while it wrote leaves half a line: it is passed over.
        self._clean_end = not text or text.endswith("\n")
        self.entries = [entry for entry in map(_entry, text.split("\n")) if entry is not None]
        self.resumed = bool(self.entries)

    @property
    def prompts(self) -> list[str]:
        """All prompts so far, oldest first; of those before the last compaction only the beginning."""
        found: list[str] = []
        for entry in self.entries:
            if entry.get("type") == "user":
                found.append(str(entry.get("text", "")))
            elif entry.get("type") == "compact":
                found = [text[:SUMMARY_CHARACTERS] for text in found]
        return found

    @property
    def turns(self) -> int:
        """How many turns there were, commands and those of cleared conversations included."""
        before = [int(entry.get("turns", 0)) for entry in self.entries[:1] if entry.get("type") == "session"]
        own = sum(entry.get("type") in {"user", "command"} for entry in self.entries)
        return sum(before) + own

    @property
    def tokens(self) -> int:
        """Size of what is remembered: a token is four characters."""
        return -(-sum(map(len, self.prompts)) // 4)

    def successor(self) -> Self:
        """An empty conversation under an id of its own.

        Raises:
            OSError: the folder cannot be written.
        """
        fresh = type(self)(self._folder, f"demo-{os.urandom(8).hex()}")
        fresh.start()
        return fresh

    def add(self, entry: Entry) -> None:
        """Remember `entry`."""
        line = json.dumps(entry) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line if self._clean_end else "\n" + line)
        self._clean_end = True
        self.entries.append(entry)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self.session_id}.jsonl"


def is_session_id(text: str) -> bool:
    """Whether `text` can name a conversation: it becomes a file's name."""
    return _ID.fullmatch(text) is not None


def _entry(line: str) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
