"""The real Claude Code, run by somebody in a folder of their own, reports to Corral by the settings that it printed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.model_server import Running
from tests.fakes.webhook_receiver import Receiver, receiving
from tests.fixtures.agents import claude_environment
from tests.fixtures.api import Api
from tests.fixtures.reporting import Outsider, fall_silent
from tests.fixtures.terminal import corral
from tests.fixtures.waiting import eventually

EVENTS = ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd"]


class Person:
    """Somebody with a project, a Claude Code and a key of Corral. Their own settings post the same to `recorder`."""

    def __init__(self, api: Api, binary: Path, model: Running, folder: Path, recorder: Receiver) -> None:
        self.api, self.binary, self.model, self.recorder = api, binary, model, recorder
        self.project, self.home = folder / "project", folder / "home"
        self.settings = self.project / ".claude" / "settings.local.json"
        self.settings.parent.mkdir(parents=True)
        self.home.mkdir()
        own = {event: [{"hooks": [{"type": "http", "url": recorder.url(f"/{event}")}]}] for event in EVENTS}
        self.settings.write_text(json.dumps({"hooks": own}))

    def install(self, *options: str) -> Outsider:
        """What the project reports from now on."""
        told = corral(
            "hooks", "install", "--write", str(self.project), *options,
            cwd=self.home, CORRAL_URL=self.api.url, CORRAL_KEY=self.api.key,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        session = told.stderr[told.stderr.index("ses_") :].split(";")[0]
        token = json.loads(self.settings.read_text())["env"]["CORRAL_HOOK_TOKEN"]
        return Outsider(self.api, session, token, self.api.http)

    @contextmanager
    def claude(self, prompt: str, *options: str) -> Iterator[subprocess.Popen[str]]:
        """A Claude Code with one prompt, killed where it still runs at the end."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "TMPDIR": str(self.home)}
        env |= {**claude_environment(self.model), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        process = subprocess.Popen(
            [str(self.binary), "-p", prompt, *options],
            cwd=self.project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=20)

    def says(self, prompt: str, *options: str) -> str:
        """All that it printed."""
        with self.claude(prompt, *options) as process:
            said, _ = process.communicate(timeout=90)
        assert process.returncode == 0, said
        return said


@pytest.fixture
def person(sqlite_api: Api, claude_binary: Path, model_server: Running, tmp_path: Path) -> Iterator[Person]:
    with receiving() as recorder:
        yield Person(sqlite_api, claude_binary, model_server, tmp_path, recorder)


def test_prompt_tool_and_stop_arrive_in_order_and_once_and_sent_again_change_nothing(person):
    seen = person.install()

    person.says("[[bash:echo hi]]")

    log = seen.events()
    assert [event["type"] for event in log] == [
        "session_started", "turn_queued", "turn_started", "tool_call", "tool_result",
        "message", "turn_ended", "session_idle", "session_ended",
    ]  # fmt: skip
    assert [event["seq"] for event in log] == list(range(1, 10))
    assert seen.data("session_started")[0]["source"] == "startup"
    assert seen.data("turn_queued")[0] == {"text": "[[bash:echo hi]]", "source": "hook"}
    assert seen.data("tool_call")[0]["input"]["command"] == "echo hi"
    assert seen.data("tool_result")[0]["output"] == "hi"
    assert "Done. The tools said" in seen.data("turn_ended")[0]["result_text"]
    assert seen.seen()["end_reason"] == "agent_left"

    # Their own hooks stand beside ours, so what Claude Code posted is known to the byte.
    assert {post.path for post in person.recorder.posts} == {f"/{event}" for event in EVENTS if event != "SessionStart"}
    for post in person.recorder.posts:
        answer = person.api.http.post(
            f"/v1/hooks/claude{post.path}",
            content=post.body,
            headers={"Authorization": f"Bearer {seen.token}", "Content-Type": "application/json"},
        )
        assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (200, "true")
    assert seen.events() == log


def test_the_next_run_after_a_kill_is_the_next_session_and_the_killed_one_ends_of_silence(person):
    seen = person.install()
    with person.claude("[[hang]]") as process:
        eventually(lambda: "turn_started" in seen.kinds(), timeout_s=60, about="the turn")
        process.kill()

    person.says("hello")
    before = seen.seen()
    fall_silent(seen)

    assert before["status"] == "running"
    ends = [(data["status"], data["stop_reason"]) for data in seen.data("turn_ended")]
    assert ends == [("interrupted", "session_heartbeat_lost")]
    (other,) = [one["id"] for one in person.api.http.get("/v1/sessions").json()["data"] if one["id"] != seen.session]
    assert seen.data("turn_queued", other)[0]["text"] == "hello"
    assert seen.data("turn_ended", other)[0]["status"] == "completed"


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_permission_is_granted_or_denied_from_afar(person, decision):
    seen = person.install("--remote-approval", "--wait", "60")
    with person.claude("[[bash:echo hi > f.txt]]") as process:
        asks = person.api.http
        (ask,) = eventually(
            lambda: asks.get("/v1/asks", params={"status": "open"}).json()["data"], timeout_s=60, about="the ask"
        )
        asks.post(f"/v1/asks/{ask['id']}/answer", json={"decision": decision})
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 0, said
    assert (person.project / "f.txt").exists() == (decision == "allow")
    assert [data["status"] for data in seen.data("ask_resolved")] == ["answered", "applied"]
    assert seen.data("tool_result")[0]["is_error"] == (decision == "deny")
