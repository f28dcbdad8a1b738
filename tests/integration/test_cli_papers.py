"""The README's first session and the command line's page, done as they say against a real `corral up`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.main import main
from tests.fixtures.fleet import free_port
from tests.fixtures.papers import Block, blocks, read, tells_of
from tests.fixtures.terminal import Up, bare_env, upped

MARK = "=== output of block {} ==="
START_RECEIVER = f"""
{sys.executable} receiver.py > received.txt 2> receiver.log & RECEIVER=$!
until curl -s -o /dev/null http://127.0.0.1:{{port}}/; do sleep 0.05; done
"""
STOP_RECEIVER = """
LAST=$(curl -s $CORRAL_URL/v1/sessions -H "$AUTH" | grep -o 'ses_[0-9a-z]*' | head -1)
for _ in $(seq 300); do grep -q "$LAST.*session_idle" received.txt && break; sleep 0.1; done
curl -s -d '{{"session_id": "ses_forged", "events": []}}' http://127.0.0.1:{port}/ || true
kill $RECEIVER
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with upped(tmp_path_factory.mktemp("up")) as running:
        (running.folder / ".corral").symlink_to(running.home)
        yield running


@pytest.fixture(scope="module")
def done(up: Up) -> list[tuple[Block, str]]:
    """The README's blocks, each with what the commands before it printed."""
    port = free_port()
    text = read("README.md").replace("http://127.0.0.1:8420", up.client.url).replace("9000", str(port))
    page = blocks(text)
    script = "set -u\n" + "".join(_as_script(block, number, port, up.folder) for number, block in enumerate(page))
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=up.folder,
        env=bare_env(up.folder),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    told, before = [], ""
    for number, block in enumerate(page):
        before = _between(ran.stdout, number) if block.mark == "run" else before
        told.append((block, before))
    return told


def _as_script(block: Block, number: int, port: int, folder: Path) -> str:
    match block.mark:
        case "run":
            # A stream has no end of its own; ask the agent for longer, since this machine may be busy.
            body = re.sub(
                r"^(curl -sN .*)$", r"""timeout 60 \1 | sed '/"type":"turn_ended"/q'""", block.body, flags=re.MULTILINE
            )
            body = body.replace("wait_s=2", "wait_s=8")
            return f"printf '\\n%s\\n' '{MARK.format(number)}'\n{body}"
        case "receiver.py":
            (folder / "receiver.py").write_text(block.body)
            return START_RECEIVER.format(port=port)
        case "received":
            return STOP_RECEIVER.format(port=port)
    return ""


def _between(output: str, number: int) -> str:
    return output.partition(MARK.format(number))[2].partition("=== output of block ")[0]


def test_the_readmes_commands_print_what_it_shows(done):
    shown = [(block, real) for block, real in done if block.mark == "told"]

    assert len(shown) == 4
    for block, real in shown:
        assert tells_of(block.body, real), f"the README shows\n{block.body}\nbut this came:\n{real}"


def test_the_readmes_receiver_verifies_real_deliveries(done, up):
    (block,) = [block for block, _ in done if block.mark == "received"]
    last = up.client.get("/sessions")["data"][0]["id"]
    # The end of the session before may come as well.
    received = [line for line in (up.folder / "received.txt").read_text().splitlines() if line.startswith(last)]

    assert re.findall(r"'(\w+)'", "\n".join(received)) == re.findall(r"'(\w+)'", block.body)


def test_the_readmes_receiver_refuses_what_is_not_signed(done, up):
    assert "forged" not in (up.folder / "received.txt").read_text()
    assert (up.folder / "receiver.log").read_text().count("WebhookVerificationError: ") == 1


def test_the_readme_shows_what_corral_up_prints(up):
    (banner,) = [block for block in blocks(read("README.md")) if block.mark == "banner"]
    shown = banner.body.replace("http://127.0.0.1:8420", up.client.url).replace("/home/you/.corral", str(up.home))

    assert tells_of(shown, up.log.read_text())


def test_every_marked_block_is_one_a_test_knows():
    marks = {block.mark for block in blocks(read("README.md"))}

    assert marks == {"", "run", "told", "banner", "received", "receiver.py"}


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ('{"id":"ses_1",…}', '{"id":"ses_2","status":"ended"}'),
        ('{"a":1,\n "b":2}', '{"a":1,"b":2}'),
        ("id: 6", "id: 9"),
        ("at 2026-11-21T10:44:28.907Z", "at 2027-01-01T00:00:00Z"),
    ],
)
def test_what_varies_from_run_to_run_is_no_difference(shown, real):
    assert tells_of(shown, real)


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ('{"status":"ended"}', '{"status":"idle"}'),
        ("one … two", "two one"),
        ('{"id":"ses_1"}', '{"ref":"ses_1"}'),
        ('"cost_usd":0.1', '"cost_usd":0.2'),
    ],
)
def test_what_the_page_says_wrongly_is_one(shown, real):
    assert not tells_of(shown, real)


# --- docs/command-line.md ----------------------------------------------------------------------------------------


def _commands(group: click.Group, path: str = "corral") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(
    ("name", "command"), [*_commands(main)], ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_page_of_the_command_line_knows_every_command_and_option(name, command):
    page = read("docs/command-line.md")
    options = {option for one in command.params if isinstance(one, click.Option) for option in one.opts}

    assert f"`{name}" in page
    assert not {option for option in options if f"{option}" not in page}
