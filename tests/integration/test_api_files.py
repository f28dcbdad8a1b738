"""Files over HTTP: through the API, the worker's signed internal HTTP and the safe opener, to a real folder."""

from __future__ import annotations

import asyncio
import io
import subprocess
import tarfile
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


def log(api: Api, session: str) -> list[dict[str, object]]:
    told = api.http.get(f"/v1/sessions/{session}/events", params={"types": "file_changed"}).json()["data"]
    return [event["data"] for event in told]


def test_a_file_is_written_replaced_and_removed_and_the_log_tells_it(sqlite_api, session, volume):
    folder, path = volume.root / "sessions" / session / "workspace", f"/v1/sessions/{session}/files/new/deep/ünï.txt"

    made = sqlite_api.http.put(path, content=b"one")
    again = sqlite_api.http.put(path, content=b"three")
    refused = sqlite_api.http.put(path, content=b"four", headers={"If-None-Match": "*"})

    assert (made.status_code, again.status_code) == (201, 200)
    assert (again.json()["path"], again.json()["size_bytes"]) == ("new/deep/ünï.txt", 5)
    assert (refused.status_code, refused.json()["code"]) == (409, "file_exists")
    assert sqlite_api.http.get(path).text == "three"
    assert sqlite_api.http.delete(f"/v1/sessions/{session}/files/new").json()["code"] == "folder_not_empty"
    assert sqlite_api.http.delete(path).json()["type"] == "file"
    assert sqlite_api.http.delete(f"/v1/sessions/{session}/files/new", params={"recursive": "true"}).status_code == 200
    assert sqlite_api.http.delete(path).status_code == 404
    assert not (folder / "new").exists()
    shown = [(data["change"], data["path"], data.get("size_bytes"), data["by"]) for data in log(sqlite_api, session)]
    assert shown == [
        ("created", "new/deep/ünï.txt", 3, "test"),
        ("modified", "new/deep/ünï.txt", 5, "test"),
        ("deleted", "new/deep/ünï.txt", None, "test"),
        ("deleted", "new", None, "test"),
    ]


def test_the_same_upload_under_the_same_key_happens_once(sqlite_api, session, volume):
    path, key = f"/v1/sessions/{session}/files/once.txt", {"Idempotency-Key": "k1"}
    first = sqlite_api.http.put(path, content=b"first", headers=key)
    (volume.root / "sessions" / session / "workspace/once.txt").write_text("changed since")

    repeated = sqlite_api.http.put(path, content=b"first", headers=key)
    other = sqlite_api.http.put(path, content=b"other", headers=key)

    assert (first.status_code, repeated.status_code) == (201, 201)
    assert repeated.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert sqlite_api.http.get(path).text == "changed since"
    assert len(log(sqlite_api, session)) == 1


@pytest.mark.parametrize("path", ["leak", "src", "../x", "%2e%2e/x", "src/../../x", "leak/x", "a%00b", "blob.bin/x"])
def test_nothing_is_written_or_removed_through_a_symlink_or_outside(sqlite_api, session, path):
    url = f"/v1/sessions/{session}/files/{path}"

    answer = sqlite_api.http.put(url, content=b"x")

    assert answer.status_code in {404, 422}, answer.text
    assert log(sqlite_api, session) == []


def test_who_may_only_read_uploads_nothing_and_a_file_too_large_is_refused(sqlite_url, valkey_url):
    from shared.domain.tenant import Scope  # noqa: PLC0415
    from tests.fixtures.api import api_running  # noqa: PLC0415

    with api_running(sqlite_url, valkey_url, CORRAL_FILE_LIMIT="1000") as api:
        session = api.create("hi")["id"]
        path = f"/v1/sessions/{session}/files/x"

        assert api.client(Scope.READ).put(path, content=b"x").status_code == 403
        assert api.http.put(path, content=b"x", headers={"Authorization": "Bearer crl_no"}).status_code == 401
        for content in (b"x" * 1001, iter([b"x" * 600, b"x" * 600])):
            assert api.http.put(path, content=content).json()["code"] == "body_too_large"
        # Nobody has opened its workspace yet.
        assert api.http.put(path, content=b"x" * 1000).status_code == 404


def test_an_ended_session_takes_files_and_its_log_stays_closed(sqlite_api, session):
    with sqlite_api.edge.context.db.write() as connection:
        heads.end(connection, SessionId(session), "terminated", None, clock.now())

    assert sqlite_api.http.put(f"/v1/sessions/{session}/files/late", content=b"x").status_code == 201

    assert log(sqlite_api, session) == []


def test_a_workspace_comes_as_an_archive_without_what_leads_outside(sqlite_api, session, volume):
    root = volume.root / "sessions" / session / "workspace"
    (root / "big").write_bytes(bytes(range(256)) * 8192)
    plain = sqlite_api.http.get(f"/v1/sessions/{session}/archive")
    zipped = sqlite_api.http.get(f"/v1/sessions/{session}/archive", params={"gzip": "true", "path": "src"})
    missing = sqlite_api.http.get(f"/v1/sessions/{session}/archive", params={"path": "none"})
    outside = sqlite_api.http.get(f"/v1/sessions/{session}/archive", params={"path": "../home"})

    with tarfile.open(fileobj=io.BytesIO(plain.content)) as tar:
        assert {one.name for one in tar} == {
            "src", "src/ünï code?.py", "blob.bin", "big", "page.html", "corral-left-out.txt",
        }  # fmt: skip
        assert tar.extractfile("big").read() == (root / "big").read_bytes()
        assert tar.extractfile("corral-left-out.txt").read() == b"leak: a symlink that may lead outside\n"
    with tarfile.open(fileobj=io.BytesIO(zipped.content), mode="r:gz") as tar:
        assert tar.getnames() == ["ünï code?.py"]
    assert plain.headers["content-disposition"] == f'attachment; filename="{session}.tar"'
    assert "corral-fetch" not in plain.headers
    assert (missing.status_code, outside.status_code) == (404, 422)
    with sqlite_api.edge.context.db.write() as connection:
        connection.execute(workers.update().values(address="127.0.0.1:1"))
    assert sqlite_api.http.get(f"/v1/sessions/{session}/archive").json()["code"] == "files_away"


def test_what_git_says_of_the_workspace(sqlite_api, session, volume):
    path, root = f"/v1/sessions/{session}", volume.root / "sessions" / session / "workspace"
    none = [sqlite_api.http.get(f"{path}/{what}") for what in ("diff", "git/status", "git/log")]
    (root / "leak").unlink()
    for args in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "First"]):
        named = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", *args]
        subprocess.run(["git", *named], cwd=root, check=True)
    (root / "page.html").write_text("changed\n", encoding="utf-8")
    (root / "new.txt").write_text("new\n", encoding="utf-8")

    diff = sqlite_api.http.get(f"{path}/diff").json()
    status = sqlite_api.http.get(f"{path}/git/status").json()
    log = sqlite_api.http.get(f"{path}/git/log", params={"limit": 1}).json()["data"]

    assert [(one.status_code, one.json()["code"]) for one in none] == [(422, "not_a_repository")] * 3
    assert sqlite_api.http.get(f"{path}/diff", params={"base": "none"}).json()["code"] == "invalid_field"
    assert "+changed" in diff["diff"]
    assert "+new" in diff["diff"]
    assert diff["base"] == status["head"] == log[0]["id"]
    assert {(one["path"], one["status"]) for one in status["changes"]} == {
        ("page.html", "modified"),
        ("new.txt", "untracked"),
    }
    assert (log[0]["author"], log[0]["subject"], log[0]["parents"]) == ("Ann", "First", [])
