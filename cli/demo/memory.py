"""What the demo agent remembers of a conversation: a JSONL file in its HOME."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Memory:
    """The transcript of one conversation. `resumed` tells whether earlier entries were found."""

    def __init__(self, folder: Path, session_id: str) -> None:
        self.session_id = session_id
        self.entries: list[Entry] = []
        self.resumed = False
        self._folder = folder
        self._clean_end = True

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
        """All prompts so far, oldest first."""
        return [str(entry.get("text", "")) for entry in self.entries if entry.get("type") == "user"]

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
