"""Files over HTTP: through the API, the worker's signed internal HTTP and the safe opener, to a real folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.domain import clock
from shared.domain.ids import SessionId
from shared.store import heads
from shared.store.tables import workers
from shared.workspaces import signed
from shared.workspaces.folder import Folder
from shared.workspaces.kind import Volume
from shared.workspaces.volume import open_volume
from tests.fixtures.api import Api
from workers.host.files import Readiness, make_app, serving

KEY = signed.key_of("only for tests: forty characters of nothing")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return open_volume(tmp_path / "volume")


@pytest.fixture
def address(volume: Volume) -> Iterator[str]:
    """A worker's internal HTTP over `volume`."""
    port: list[int] = []
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    kind = Folder()

    async def serve() -> None:
        app = make_app(
            key=KEY,
            locate=lambda session: kind.find(session, {}, volume),
            remove=lambda session: kind.remove(session, {}, volume),
            readiness=Readiness,
            metrics=lambda: b"",
        )
        async with serving(app, host="127.0.0.1", port=0) as bound:
            port.append(bound)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    assert ready.wait(10)
    yield f"127.0.0.1:{port[0]}"
    loop.call_soon_threadsafe(done.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def session(sqlite_api: Api, volume: Volume, address: str) -> str:
    """A hosted session with files, whose worker serves them."""
    made = str(sqlite_api.create("hi")["id"])
    sqlite_api.host(made)
    with sqlite_api.edge.context.db.write() as connection:
        connection.execute(workers.update().values(address=address))
    root = Folder().open(SessionId(made), {}, volume).root
    (root / "src").mkdir()
    (root / "src/ünï code?.py").write_text("print('hello')\n", encoding="utf-8")
    (root / "blob.bin").write_bytes(bytes(range(256)))
    (root / "page.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    (root / "leak").symlink_to("/etc/passwd")
    return made


def test_the_workspace_is_listed_down_to_three_levels(sqlite_api, session):
    flat = sqlite_api.http.get(f"/v1/sessions/{session}/files").json()
    deep = sqlite_api.http.get(f"/v1/sessions/{session}/files", params={"depth": 3}).json()
    too_deep = sqlite_api.http.get(f"/v1/sessions/{session}/files", params={"depth": 4})
    folder = sqlite_api.http.get(f"/v1/sessions/{session}/files/src").json()

    assert {(one["path"], one["type"]) for one in flat["data"]} == {
        ("src", "folder"),
        ("blob.bin", "file"),
        ("page.html", "file"),
        ("leak", "symlink"),
    }
    assert "src/ünï code?.py" in {one["path"] for one in deep["data"]}
    assert too_deep.status_code == 422
    assert [one["path"] for one in folder["data"]] == ["src/ünï code?.py"]


def test_a_file_is_read_whole_or_in_part(sqlite_api, session):
    path = f"/v1/sessions/{session}/files"

    whole = sqlite_api.http.get(f"{path}/src/%C3%BCn%C3%AF%20code%3F.py")
    part = sqlite_api.http.get(f"{path}/blob.bin", params={"offset": 16, "limit": 4})
    info = sqlite_api.http.get(f"{path}/blob.bin", params={"info": "true"}).json()

    assert whole.text == "print('hello')\n"
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert part.content == bytes([16, 17, 18, 19])
    assert part.headers["x-corral-file-size"] == "256"
    assert (info["type"], info["size_bytes"]) == ("file", 256)


def test_what_an_agent_wrote_is_never_a_page_of_ours(sqlite_api, session):
    answer = sqlite_api.http.get(f"/v1/sessions/{session}/files/page.html")

    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == "attachment"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["leak", "../home", "src/../../home", "/etc/passwd", "%2e%2e/home", "none", "a%00b"])
def test_nothing_outside_the_workspace_is_given_out(sqlite_api, session, path):
    answer = sqlite_api.http.get(f"/v1/sessions/{session}/files/{path}")

    assert answer.status_code in {404, 422}, answer.text
    assert "root:" not in answer.text


def test_a_session_whose_worker_is_gone_says_that_its_files_are_away(sqlite_api, session):
    with sqlite_api.edge.context.db.write() as connection:
        connection.execute(workers.update().values(address="127.0.0.1:1"))
    unreachable = sqlite_api.http.get(f"/v1/sessions/{session}/files")
    with sqlite_api.edge.context.db.write() as connection:
        connection.execute(workers.update().values(state="lost"))
    lost = sqlite_api.http.get(f"/v1/sessions/{session}/files")

    for answer in (unreachable, lost):
        assert (answer.status_code, answer.json()["code"]) == (503, "files_away")
        assert answer.headers["retry-after"]


def test_a_session_that_never_had_a_workspace_has_no_files(sqlite_api):
    session = sqlite_api.create("hi")["id"]

    answer = sqlite_api.http.get(f"/v1/sessions/{session}/files")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_deleting_an_ended_session_removes_its_workspace(sqlite_api, session, volume):
    folder = volume.root / "sessions" / session
    host = sqlite_api.http.get(f"/v1/sessions/{session}").json()
    assert host["worker"] == "a"
    with sqlite_api.edge.context.db.write() as connection:
        heads.end(connection, SessionId(session), "terminated", None, clock.now())
    assert folder.exists()

    answers = [sqlite_api.http.delete(f"/v1/sessions/{session}").status_code for _ in range(2)]

    assert answers == [202, 202]
    assert sqlite_api.http.get(f"/v1/sessions/{session}/files").status_code == 404
    assert not folder.exists()
