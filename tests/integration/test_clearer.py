"""Workspaces of sessions that ended long ago: removed by the worker that has them, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.domain import clock
from shared.domain.ids import SessionId
from shared.store import heads, retention, tables
from shared.store.database import Database
from shared.workspaces.folder import Folder
from shared.workspaces.kind import Volume
from shared.workspaces.volume import open_volume
from tests.fixtures.seeds import SPEC, Seeds, plant
from workers.maintenance.clearer import Clearer

DAY = timedelta(days=1)


@dataclass
class Disk:
    """A volume with the workspaces of some sessions, and a project of somebody's."""

    seeds: Seeds
    volume: Volume
    project: Path

    def session(self, *, ended: timedelta | None, volume: str | None = None, **workspace: str) -> SessionId:
        session = self.seeds.session(replace(SPEC, workspace={"kind": "folder", **workspace}))
        place = Folder().open(session, {"kind": "folder", **workspace}, self.volume)
        (place.root / "made-by-agent").write_text("work")
        with self.seeds.database.write() as connection:
            row = tables.heads.update().where(tables.heads.c.session_id == session)
            connection.execute(row.values(volume_id=volume or self.volume.id))
            if ended is not None:
                heads.end(connection, session, "terminated", None, clock.now() - ended)
        return session

    def has(self, session: SessionId) -> bool:
        return (self.volume.root / "sessions" / session).exists()

    def clearer(self) -> Clearer:
        return Clearer(self.seeds.database, self.volume, keep_days=1.0)

    def trim(self) -> int:
        return retention.trim(self.seeds.database, before=clock.now() - DAY).sessions


@pytest.fixture
def disk(database_url: str, tmp_path: Path) -> Iterator[Disk]:
    database = Database(database_url)
    project = tmp_path.resolve() / "projects/app"
    project.mkdir(parents=True)
    yield Disk(plant(database), open_volume(tmp_path / "volume", [project.parent]), project)
    database.close()


def test_what_ended_long_ago_on_this_volume_goes_and_its_row_only_after_it(disk: Disk) -> None:
    old, young, living = disk.session(ended=2 * DAY), disk.session(ended=DAY / 2), disk.session(ended=None)
    elsewhere = disk.session(ended=2 * DAY, volume="another")

    assert disk.trim() == 0
    assert disk.clearer().round() == 1

    assert [disk.has(session) for session in (old, young, living, elsewhere)] == [False, True, True, True]
    assert disk.trim() == 1
    assert disk.clearer().round() == 0


def test_a_folder_of_the_allow_list_stays(disk: Disk) -> None:
    session = disk.session(ended=2 * DAY, path=str(disk.project))

    assert disk.clearer().round() == 1

    assert not disk.has(session)
    assert (disk.project / "made-by-agent").read_text() == "work"


def test_one_that_cannot_be_removed_holds_up_no_other_and_its_row_goes_in_the_end(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = disk.session(ended=9 * DAY), disk.session(ended=2 * DAY)
    with disk.seeds.database.write() as connection:
        # As a later release leaves it: this one knows no such kind.
        row = tables.sessions.update().where(tables.sessions.c.id == stuck)
        connection.execute(row.values(workspace_kind="later"))
    clearer = disk.clearer()
    monkeypatch.setattr("workers.maintenance.clearer._AT_ONCE", 1)

    assert [clearer.round() for _ in range(3)] == [0, 1, 0]

    assert (disk.has(stuck), disk.has(other)) == (True, False)
    assert disk.trim() == 2


def test_a_backlog_is_cleared_a_few_at_a_time(disk: Disk) -> None:
    for _ in range(7):
        disk.session(ended=2 * DAY)
    clearer = disk.clearer()

    assert [clearer.round() for _ in range(3)] == [5, 2, 0]
