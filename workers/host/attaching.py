"""Finds the transcript of a conversation that was begun outside of Corral, in folders the operator allows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from workers.host import regular
from workers.host.reading import MIRRORED_BYTES

MAX_DEPTH: Final = 6
"""Agents keep transcripts a few folders deep: by project, or by year, month and day."""
NOT_FOUND: Final = "the conversation it shall go on with is in none of the folders that CORRAL_ATTACH_FOLDERS names."


def find(folders: Sequence[Path], conversation: str) -> list[str]:
    """The entries (JSON lines) of the conversation, from the first file named after it; empty where there is none.

    `<id>.jsonl` and `<anything>-<id>.jsonl` are named after it. Symlinks are not followed.
    """
    for folder in folders:
        for path in _files(folder):
            if path.name == f"{conversation}.jsonl" or path.name.endswith(f"-{conversation}.jsonl"):
                return _entries(path)
    return []


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        if len(Path(parent).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        yield from (Path(parent, name) for name in sorted(names))


def _entries(path: Path) -> list[str]:
    text = (regular.content(path, MIRRORED_BYTES) or b"").decode("utf-8", "replace")
    return [line for line in text.split("\n") if _is_entry(line)]


def _is_entry(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
