"""The API's client against a worker's real internal HTTP: files arrive, and every failure has its name."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import requests

from shared.domain.errors import FilesAway, InvalidField, NotFound
from shared.domain.ids import mint_session
from shared.workspaces import signed
from shared.workspaces.folder import Folder
from shared.workspaces.kind import Place
from shared.workspaces.remote import RemoteFiles
from shared.workspaces.volume import open_volume
from workers.host.files import Readiness, make_app, serving

KEY = signed.key_of("a secret of at least thirty-two characters")
SESSION, GONE = mint_session(), mint_session()


@contextmanager
def worker(locate, *, readiness=Readiness):
    """A worker's internal HTTP on a loop of its own; gives its address."""
    port: list[int] = []
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve():
        app = make_app(
            key=KEY,
            locate=locate,
            remove=lambda _: None,
            readiness=readiness,
            metrics=lambda: b"corral_up 1\n",
        )
        async with serving(app, host="127.0.0.1", port=0) as bound:
            port.append(bound)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        assert ready.wait(10)
        yield f"127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def place(tmp_path):
    place = Folder().open(SESSION, {}, open_volume(tmp_path / "volume"))
    (place.root / "sub").mkdir()
    (place.root / "sub/a file & more?#.txt").write_text("text")
    (place.root / "big").write_bytes(bytes(range(256)) * 4096)
    (place.root / "out").symlink_to("/etc/passwd")
    return place


@pytest.fixture
def address(place):
    gone = Place(root=place.root.with_name("gone"), home=place.home, managed=True)
    with worker({SESSION: place, GONE: gone}.get) as address:
        yield address


@pytest.fixture
def files():
    client = RemoteFiles(KEY, timeout_s=2)
    yield client
    client.close()


def test_a_listing_info_and_content_come_as_they_are_on_the_workers_disk(address, files):
    listing = files.listing(address, SESSION, ".", depth=2)
    info = files.info(address, SESSION, "sub/a file & more?#.txt")
    chunk = files.read(address, SESSION, "big", offset=1, limit=300)

    assert [entry.path for entry in listing.entries] == ["big", "out", "sub", "sub/a file & more?#.txt"]
    assert not listing.truncated
    assert files.listing(address, SESSION, ".", limit=1).truncated
    assert (info.type, info.size_bytes) == ("file", 4)
    assert files.read(address, SESSION, info.path).data == b"text"
    assert chunk.data == (bytes(range(256)) * 2)[1:301]
    assert (chunk.offset, chunk.size_bytes) == (1, 1 << 20)
    assert chunk.modified_at.utcoffset().total_seconds() == 0


def test_a_name_that_is_no_utf_8_finds_its_way(address, files, place):
    (place.root / "od\udcffd").write_text("odd")

    (entry,) = [entry for entry in files.listing(address, SESSION, ".").entries if entry.path.startswith("od")]

    assert files.read(address, SESSION, entry.path).data == b"odd"


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("none", NotFound),
        ("out", NotFound),
        ("sub", InvalidField),
        ("../secret", InvalidField),
        ("/etc/passwd", InvalidField),
        ("a\0b", InvalidField),
        ("", InvalidField),
    ],
)
def test_a_refusal_of_the_worker_reaches_the_caller_as_what_it_is(address, files, path, refusal):
    with pytest.raises(refusal):
        files.read(address, SESSION, path)


def test_a_session_the_worker_does_not_hold_is_not_found(address, files):
    for session in (mint_session(), "ses_../../x", "nonsense"):
        with pytest.raises(NotFound):
            files.listing(address, session, ".")


def test_a_workspace_that_is_gone_from_the_disk_is_away(address, files):
    with pytest.raises(FilesAway):
        files.listing(address, GONE, ".")


def test_a_worker_that_is_not_there_is_away(files):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(FilesAway):
            files.listing(f"127.0.0.1:{unused.getsockname()[1]}", SESSION, ".")
    for address in ("", "no host", "127.0.0.1:notaport"):
        with pytest.raises(FilesAway):
            files.listing(address, SESSION, ".")


def test_a_worker_that_hangs_is_away_in_time():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        begun = time.monotonic()
        with pytest.raises(FilesAway):
            RemoteFiles(KEY, timeout_s=0.3).info(f"127.0.0.1:{deaf.getsockname()[1]}", SESSION, "x")
        assert time.monotonic() - begun < 3


def test_somebody_who_answers_html_is_no_worker(files):
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<html"

    def answer(server):
        for _ in range(3):
            with server.accept()[0] as caller:
                caller.recv(65536)
                caller.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer, args=[server])
        answering.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        for ask in (files.listing, files.info, files.read):
            with pytest.raises(FilesAway):
                ask(address, SESSION, "x")
        answering.join(10)


def test_without_the_fleets_secret_nothing_is_told(address):
    stranger = RemoteFiles(signed.key_of("some other secret"))
    with pytest.raises(FilesAway, match="401"):
        stranger.listing(address, SESSION, ".")

    target = f"/files?session={SESSION}&op=list&path=."
    unsigned = requests.get(f"http://{address}{target}", timeout=5)
    replayed = requests.get(f"http://{address}{target}&depth=3", headers=signed.sign(KEY, "GET", target), timeout=5)

    assert (unsigned.status_code, replayed.status_code) == (401, 401)
    assert unsigned.json()["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "query", ["op=delete&path=big", "path=big", "op=read&path=big&limit=-1", "op=read&path=big&offset=x"]
)
def test_a_question_that_makes_no_sense_is_refused(address, query):
    target = f"/files?session={SESSION}&{query}"

    answer = requests.get(f"http://{address}{target}", headers=signed.sign(KEY, "GET", target), timeout=5)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


def test_a_disk_that_hangs_holds_up_neither_probe_nor_memory(place):
    release = threading.Event()

    def locate(session):
        release.wait(20)
        return place

    with worker(locate) as address:
        target = f"/files?session={SESSION}&op=info&path=big"
        url, headers = f"http://{address}{target}", signed.sign(KEY, "GET", target)
        statuses: list[int] = []

        def ask():
            statuses.append(requests.get(url, headers=headers, timeout=20).status_code)

        asking = [threading.Thread(target=ask) for _ in range(70)]
        try:
            for thread in asking:
                thread.start()
            # Sixty-four may wait; the others are told so at once.
            begun = time.monotonic()
            while statuses.count(503) < 6 and time.monotonic() - begun < 10:
                assert requests.get(f"http://{address}/healthz", timeout=2).status_code == 200
        finally:
            release.set()
            for thread in asking:
                thread.join(20)

    assert sorted(statuses) == [200] * 64 + [503] * 6


def test_probes_and_metrics_need_no_signature(place):
    now = [Readiness(warnings=["redis is away"])]
    with worker({}.get, readiness=lambda: now[0]) as address:
        ready = requests.get(f"http://{address}/readyz", timeout=5)
        now[0] = Readiness(missing=["database"])
        missing = requests.get(f"http://{address}/readyz", timeout=5)

        assert requests.get(f"http://{address}/healthz", timeout=5).status_code == 200
        assert (ready.status_code, ready.json()["warnings"]) == (200, ["redis is away"])
        assert (missing.status_code, missing.json()["missing"]) == (503, ["database"])
        assert requests.get(f"http://{address}/metrics", timeout=5).text == "corral_up 1\n"
        assert requests.get(f"http://{address}/other", timeout=5).status_code == 404


def test_a_fault_of_the_worker_is_told_without_its_inside():
    def locate(session):
        raise RuntimeError("/secret/path")

    with worker(locate) as address:
        target = f"/files?session={SESSION}&op=info&path=x"
        answer = requests.get(f"http://{address}{target}", headers=signed.sign(KEY, "GET", target), timeout=5)

    assert answer.status_code == 500
    assert "secret" not in answer.text
