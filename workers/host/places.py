"""Where the files of this volume's sessions are, for the internal HTTP; also of sessions nobody hosts any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.errors import Conflict
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.domain.session import SessionSpec, SessionStatus
from shared.store import heads, sessions
from shared.store.database import Database
from shared.store.heads import Head
from shared.store.sealing import Sealer
from shared.workspaces.kind import Kind, Place, Volume


@dataclass(frozen=True, slots=True)
class Places:
    """The workspaces of one volume. Blocking: for threads."""

    database: Database
    sealer: Sealer
    volume: Volume
    kinds: Mapping[str, Kind]

    def find(self, session: SessionId) -> Place | None:
        """The session's files, whatever its state; None where they are not on this volume, or not there any more."""
        known = self._known(session)
        kind = None if known is None else self.kinds.get(known[1].workspace_kind)
        return None if known is None or kind is None else kind.find(session, known[1].workspace, self.volume)

    def work(self, session: SessionId) -> tuple[Place, JsonObject] | None:
        """The same with the spec it was made by."""
        known = self._known(session)
        place = self.find(session)
        return None if known is None or place is None else (place, known[1].workspace)

    def remove(self, session: SessionId) -> None:
        """Remove the workspace of an ended session; a living one's is removed by its host. Idempotent.

        Raises:
            Conflict: it has not ended.
        """
        known = self._known(session)
        if known is None:
            return
        head, spec = known
        if head.status is not SessionStatus.ENDED:
            raise Conflict(f"{session} has not ended.", session=session)
        if (kind := self.kinds.get(spec.workspace_kind)) is not None:
            kind.remove(session, spec.workspace, self.volume)

    def _known(self, session: SessionId) -> tuple[Head, SessionSpec] | None:
        with self.database.read() as connection:
            head = heads.get(connection, session)
            row = sessions.get_any(connection, session, self.sealer)
        if head is None or row is None or head.volume_id != self.volume.id:
            return None
        return head, row.spec
