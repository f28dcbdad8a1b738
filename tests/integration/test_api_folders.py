"""An existing folder is one session's alone, unless all who work in it said that they share it; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from shared.domain.errors import WorkspaceUnusable
from shared.domain.ids import SessionId
from shared.store import sessions
from shared.store.database import Database
from shared.workspaces.folder import Folder
from shared.workspaces.volume import open_volume
from tests.fixtures.api import Api
from tests.fixtures.seeds import SPEC, plant
from workers.host import sharing


def start(http: httpx.Client, path: str, **more: object) -> httpx.Response:
    return http.post("/v1/sessions", json={"agent": "demo", "workspace": {"kind": "folder", "path": path, **more}})


def codes(answers: list[httpx.Response]) -> list[str | None]:
    return [answer.json().get("code") for answer in answers]


def test_the_second_session_is_refused_until_the_first_has_ended(api: Api) -> None:
    first = start(api.http, "/srv/app").json()["id"]

    refused = [start(api.http, path) for path in ("/srv/app", "/srv/app/", "/srv//app/./sub", "/srv")]
    beside = [start(api.http, path) for path in ("/srv/app2", "/srv/other/app")]
    stranger = start(api.client(tenant="ten_other"), "/srv/app/deep")
    unwilling = start(api.http, "/srv/app", shared=True)

    assert codes(refused) == ["folder_in_use"] * 4
    assert [answer.status_code for answer in (*refused, *beside)] == [409] * 4 + [201] * 2
    assert refused[0].json()["details"] == {"path": "/srv/app", "session": first}
    assert (stranger.status_code, stranger.json()["details"]["session"]) == (409, None)
    assert unwilling.json()["code"] == "folder_in_use"
    api.http.post(f"/v1/sessions/{first}/terminate")
    assert start(api.http, "/srv/app/deep").status_code == 201


def test_those_who_share_work_side_by_side_and_nobody_else(api: Api) -> None:
    assert [start(api.http, path, shared=True).status_code for path in ("/srv/app", "/srv/app", "/srv")] == [201] * 3

    assert start(api.http, "/srv/app").json()["code"] == "folder_in_use"


def test_of_many_at_once_one_gets_the_folder(api: Api) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: start(api.http, "/srv/app" + "/x" * (n % 2)), range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@pytest.mark.parametrize("workspace", [{"shared": True}, {"path": "/srv/app", "shared": "yes"}])
def test_sharing_is_for_existing_folders_and_said_plainly(sqlite_api: Api, workspace: dict[str, object]) -> None:
    answer = sqlite_api.http.post("/v1/sessions", json={"agent": "demo", "workspace": {"kind": "folder", **workspace}})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "workspace.shared")


def test_a_worker_sees_through_symlinks_that_it_is_one_folder(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    seeds, root = plant(database), tmp_path.resolve() / "projects"
    (root / "app/deep").mkdir(parents=True)
    (root / "alias").symlink_to("app")
    volume = open_volume(tmp_path / "volume", [root])

    def made(name: str, *, shared: bool = False) -> SessionId:
        spec = {"kind": "folder", "path": str(root / name), **({"shared": True} if shared else {})}
        return seeds.session(replace(SPEC, workspace=spec))

    def check(session: SessionId) -> None:
        with database.read() as connection:
            found = sessions.get_any(connection, session, seeds.sealer)
        assert found is not None
        place = Folder().open(session, found.spec.workspace, volume)
        sharing.check(database, found, place, volume)

    older, other, younger = made("app/deep"), made("alias", shared=True), made("alias/deep")

    check(older)
    for session in (other, younger):
        with pytest.raises(WorkspaceUnusable):
            check(session)
    database.close()


@pytest.mark.parametrize("shared", [True, False])
def test_a_fork_works_beside_its_source_where_that_shares_its_folder(sqlite_api: Api, shared: bool) -> None:
    source = start(sqlite_api.http, "/srv/app", shared=shared).json()["id"]

    beside = sqlite_api.http.post(f"/v1/sessions/{source}/fork", json={})
    sqlite_api.http.post(f"/v1/sessions/{source}/terminate")
    after = sqlite_api.http.post(f"/v1/sessions/{source}/fork", json={})

    assert (beside.status_code, beside.json().get("code")) == ((201, None) if shared else (409, "folder_in_use"))
    assert after.status_code == 201
