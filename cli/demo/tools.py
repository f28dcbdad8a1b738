"""The words that do real work in the workspace: files and commands."""

from __future__ import annotations

import codecs
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from cli.demo.turn import FOREVER_S, EndTurn, Tool, Turn

if TYPE_CHECKING:
    import subprocess

READ_BYTES = 65536
POLL_S = 0.05
FETCH_S = 90.0
MAX_RESULT_CHARACTERS = 20_000
"""A command's result repeats at most this much of what it streamed."""


class _Outside(Exception):
    """The path leads out of the workspace."""


def _inside(path: str) -> Path:
    workspace = Path.cwd().resolve()
    target = (workspace / path).resolve()
    if not target.is_relative_to(workspace) or target == workspace:
        raise _Outside(f"{path} lies outside the workspace; name a path inside it")
    return target


def reason(error: Exception) -> str:
    """What went wrong, in words for a tool's result."""
    return str(error.strerror) if isinstance(error, OSError) else str(error)


def write(turn: Turn, path: str, text: str) -> None:
    """Write a file, whole, with its folders."""
    given = {"file_path": path, "content": text}
    turn.leave_plan_mode_for("Write", given)
    with Tool(turn, "Write", given) as tool:
        try:
            target = _inside(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except (OSError, _Outside, ValueError) as error:
            tool.done(reason(error), is_error=True)
        else:
            tool.done(f"Wrote {len(text.encode())} bytes to {path}.")


def append(turn: Turn, path: str, text: str) -> None:
    """Add a line to a file."""
    given = {"file_path": path, "content": text}
    turn.leave_plan_mode_for("Append", given)
    with Tool(turn, "Append", given) as tool:
        try:
            target = _inside(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        except (OSError, _Outside, ValueError) as error:
            tool.done(reason(error), is_error=True)
        else:
            tool.done(f"Added {len(text.encode()) + 1} bytes to {path}.")


def read(turn: Turn, path: str) -> None:
    """Read a file; its text is the tool's result."""
    with Tool(turn, "Read", {"file_path": path}) as tool:
        try:
            tool.done(_inside(path).read_text(encoding="utf-8", errors="replace"))
        except (OSError, _Outside, ValueError) as error:
            tool.done(reason(error), is_error=True)


def delete(turn: Turn, path: str) -> None:
    """Remove a file."""
    given = {"file_path": path}
    turn.leave_plan_mode_for("Delete", given)
    with Tool(turn, "Delete", given) as tool:
        try:
            _inside(path).unlink()
        except (OSError, _Outside, ValueError) as error:
            tool.done(reason(error), is_error=True)
        else:
            tool.done(f"Deleted {path}.")


def run(turn: Turn, command: str) -> None:
    """Run a shell command, in a session of its own as real agents do, and stream what it prints."""
    given = {"command": command}
    turn.leave_plan_mode_for("Bash", given)
    with Tool(turn, "Bash", given) as tool:
        asks = turn.agent.mode == "interactive"
        if not asks or turn.permit(tool, f"Run {command}"):
            _carry_out(turn, tool, str(tool.input.get("command", "")))


def _carry_out(turn: Turn, tool: Tool, command: str) -> None:
    # Imported here: it takes a tenth of the agent's whole start.
    import subprocess

    readable, writable = os.pipe()
    try:
        child = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=writable,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        os.close(writable)
        os.close(readable)
        tool.done(reason(error), is_error=True)
        return
    os.close(writable)
    try:
        printed = _stream(turn, tool, child, readable)
        code = child.wait()
    except BaseException:
        # Interrupted or told to go: what the command has started ends with it.
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    finally:
        os.close(readable)
    tool.done(f"{printed}[exit code {code}]", is_error=code != 0)


def _stream(turn: Turn, tool: Tool, child: subprocess.Popen[bytes], pipe: int) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    printed = ""
    while True:
        # A background process may hold the pipe open for ever; the command is over when the shell is.
        is_over = child.poll() is not None
        data = os.read(pipe, READ_BYTES) if turn.attend(0.0 if is_over else POLL_S, [pipe]) else None
        if data is None and not is_over:
            continue
        text = decoder.decode(data or b"", final=not data)
        if text:
            tool.output(text)
            printed = (printed + text)[-MAX_RESULT_CHARACTERS:]
        if not data:
            return printed


def fetch(turn: Turn, url: str) -> None:
    """Get an address of the web, through the proxy of the environment where there is one; asks nobody."""
    # Imported here: see _carry_out.
    import threading

    readable, writable = os.pipe()
    got: list[tuple[str, bool]] = []

    def work() -> None:
        try:
            got.append(_get(url))
        finally:
            os.close(writable)

    with Tool(turn, "Fetch", {"url": url}) as tool:
        try:
            # Broken off, the turn does not wait for it.
            threading.Thread(target=work, daemon=True).start()
            while not turn.attend(FOREVER_S, [readable]):
                continue
        finally:
            os.close(readable)
        text, is_error = got[0] if got else ("It could not be fetched.", True)
        tool.done(text, is_error=is_error)


def _get(url: str) -> tuple[str, bool]:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://")):
        return "Only http:// and https:// are fetched.", True
    try:
        with urlopen(url, timeout=FETCH_S) as answer:  # noqa: S310 - looked at above
            return f"{answer.status} {_text(answer.read(READ_BYTES))}", False
    except HTTPError as refused:
        return f"{refused.code} {_text(refused.read(READ_BYTES))}", True
    except (OSError, HTTPException, ValueError) as error:
        return str(error), True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")[:MAX_RESULT_CHARACTERS]


def permission(turn: Turn, name: str, text: str) -> None:
    """Ask for a tool that does nothing but say with which input it was allowed."""
    import json

    try:
        given = json.loads(text)
    except ValueError:
        given = None
    with Tool(turn, name, given if isinstance(given, dict) else {"text": text}) as tool:
        if turn.permit(tool, f"Use {name}"):
            tool.done(f"{name} ran with {json.dumps(tool.input)}")


def count(turn: Turn, path: str, every_ms: float) -> None:
    """Write a growing number to a file until interrupted."""
    with Tool(turn, "Count", {"file_path": path, "every_ms": every_ms}) as tool:
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            tool.done(reason(error), is_error=True)
            return
        try:
            _count(turn, file, every_ms / 1000)
        finally:
            os.close(file)


def _count(turn: Turn, file: int, every_s: float) -> None:
    n = 0
    while not turn.agent.wire.host_is_gone:
        n += 1
        # In place and only ever longer, so that a reader never meets an empty file.
        os.pwrite(file, f"{n}\n".encode(), 0)
        turn.pause(min(every_s, FOREVER_S))
    raise EndTurn("interrupted", "host_gone")
