"""The disk a worker keeps workspaces on, known by the id in its `.corral-volume` file wherever it is mounted."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from shared.domain.errors import VolumeUnusable
from shared.domain.ids import mint
from shared.workspaces.kind import Volume

ID_FILE = ".corral-volume"
_ID = re.compile(r"vol_[0-9a-z]{1,64}")


def open_volume(root: Path, allowed: Sequence[Path] = ()) -> Volume:
    """The volume at `root`; a folder that is none yet becomes one. `allowed` may not exist (yet).

    Safe when several workers do so at once: all get the id of the first.

    Raises:
        VolumeUnusable: the folder cannot be made or written, or its id file holds something else.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Without symlinks, so that a later open can refuse every symlink on the way.
        root = root.resolve(strict=True)
        file = root / ID_FILE
        if not file.exists():
            _write_once(file, mint("vol"))
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as trouble:
        problem = getattr(trouble, "strerror", None) or str(trouble)
        raise VolumeUnusable(str(root), f"{problem}; name a folder this user can write") from trouble
    if not _ID.fullmatch(text):
        raise VolumeUnusable(str(root), f"{ID_FILE} holds no volume id; restore it, or remove it to begin anew")
    return Volume(id=text, root=root, allowed_roots=tuple(allowed))


def _write_once(file: Path, text: str) -> None:
    whole = file.with_name(f"{ID_FILE}.{secrets.token_hex(8)}")
    try:
        with whole.open("x", encoding="ascii") as out:
            out.write(f"{text}\n")
            out.flush()
            os.fsync(out.fileno())
        _publish(whole, file)
    finally:
        whole.unlink(missing_ok=True)


def _publish(whole: Path, file: Path) -> None:
    # A link appears whole or not at all and never replaces the file of somebody faster.
    try:
        file.hardlink_to(whole)
    except FileExistsError:
        return
    except OSError:
        # A file system without hard links: the moment between the look and the move is accepted.
        if not file.exists():
            whole.rename(file)
