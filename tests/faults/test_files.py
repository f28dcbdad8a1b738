"""Files of sessions on two workers with a disk each, through an API that is told of neither."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from tests.fixtures.fleet import CALM, Client, Fleet
from tests.fixtures.waiting import eventually


def on_each(client: Client, *workers: str) -> dict[str, str]:
    """One idle session on each worker, by worker; others that were started meanwhile are ended."""
    found: dict[str, str] = {}

    def one_more() -> bool:
        made = client.start()["id"]
        worker = client.session(made, "idle")["worker"]
        if worker in found:
            client.post(f"/sessions/{made}/terminate")
        found.setdefault(worker, made)
        return set(found) == set(workers)

    eventually(one_more, timeout_s=60, about="a session on each worker")
    return found


def put(client: Client, session: str, path: str, content: bytes) -> Any:
    answer = client.http.put(
        f"{client.url}/v1/sessions/{session}/files/{path}",
        data=content,
        headers={"Authorization": f"Bearer {client.key}"},
        timeout=30,
    )
    assert answer.ok, answer.text
    return answer.json()


def test_each_session_has_its_files_on_its_workers_disk_alone(fleet_on_sqlite: Fleet) -> None:
    fleet, disks = fleet_on_sqlite, {name: fleet_on_sqlite.folder / f"disk-{name}" for name in "ab"}
    client = fleet.up(**CALM, CORRAL_WORKSPACE_ROOT="/nonexistent")
    for name, disk in disks.items():
        fleet.worker(name, **CALM, CORRAL_WORKSPACE_ROOT=str(disk))
    sessions = on_each(client, "a", "b")

    for name, session in sessions.items():
        put(client, session, "src/who.txt", name.encode() * 300_000)

    for name, session in sessions.items():
        other = disks["b" if name == "a" else "a"]
        written = disks[name] / "sessions" / session / "workspace/src/who.txt"
        assert written.read_bytes() == name.encode() * 300_000
        assert not (other / "sessions" / session).exists()
        assert client.get(f"/sessions/{session}/files", depth=2)["data"][1]["path"] == "src/who.txt"
        part = client.ask("GET", f"/sessions/{session}/files/src/who.txt", params={"offset": 299_999, "limit": 9})
        assert part.content == name.encode()
        packed = client.ask("GET", f"/sessions/{session}/archive").content
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            assert tar.getmember("src/who.txt").size == 300_000
        told = [event["data"] for event in client.events(session) if event["type"] == "file_changed"]
        assert [(one["path"], one["change"], one["by"]) for one in told] == [("src/who.txt", "created", "test")]
        # Ended, and all the same.
        client.post(f"/sessions/{session}/terminate")
        client.session(session, "ended")
        assert put(client, session, "late", b"x")["size_bytes"] == 1
    assert not any(_opens(fleet["api"].popen.pid, disk) for disk in disks.values())

    fleet["b"].kill()
    assert client.get(f"/sessions/{sessions['a']}/files")["data"]
    assert client.ask("GET", f"/sessions/{sessions['b']}/files").json()["code"] == "files_away"


def _opens(pid: int, folder: Path) -> bool:
    """Whether a process has anything beneath a folder open."""
    return any(str(folder) in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink())
