"""The part of GitHub's REST API that opens pull requests, with the answers of the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class GitHub:
    """What it holds, and what it was asked."""

    token: str
    port: int = 0
    pulls: list[dict[str, Any]] = field(default_factory=list)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """What the real one says to an authenticated request below /repos/{owner}/{repo}/pulls."""
        owner, name = path.removeprefix("/repos/").removesuffix("/pulls").split("/", 1)
        mine = [one for one in self.pulls if one["repository"] == f"{owner}/{name}"]
        if method == "GET":
            wanted = (query["head"], query["base"])
            return 200, [one for one in mine if (f"{owner}:{one['head']}", one["base"]) == wanted]
        if any(one["head"] == body["head"] for one in mine):
            said = f"A pull request already exists for {owner}:{body['head']}."
            return 422, {"message": "Validation Failed", "errors": [{"message": said}]}
        number = len(self.pulls) + 1
        url = f"https://github.example/{owner}/{name}/pull/{number}"
        self.pulls.append({**body, "number": number, "html_url": url, "repository": f"{owner}/{name}"})
        return 201, self.pulls[-1]


class _Handler(BaseHTTPRequestHandler):
    server: _Http

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: Any) -> None:
        git_hub, parts = self.server.git_hub, urlsplit(self.path)
        if self.headers["Authorization"] != f"Bearer {git_hub.token}":
            status, told = 401, {"message": "Bad credentials"}
        else:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, told = git_hub.answer(self.command, parts.path, query, body)
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, git_hub: GitHub) -> None:
        self.git_hub = git_hub
        super().__init__(("127.0.0.1", 0), _Handler)


@contextmanager
def running(token: str) -> Iterator[GitHub]:
    """A GitHub while the block runs."""
    git_hub = GitHub(token)
    http = _Http(git_hub)
    git_hub.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield git_hub
    finally:
        http.shutdown()
        http.server_close()
        thread.join(10)
