"""The words that misbehave on purpose, for tests of whoever runs agents."""

from __future__ import annotations

import os
import signal
import sys
import time

from cli.demo.tools import reason
from cli.demo.turn import EndTurn, Tool, Turn
from cli.demo.wire import MAX_STUBBORN_S, Frame, encode

ORPHAN_BEAT_S = 0.05

GARBAGE = (
    b'{"type":"text_delta","message_id":"bad","text":"caf\xe9 \xff\xfe"}\n',
    b"\xc3\x28 \xf0\x28\x8c\x28\n",
    b"\x00\x00\x00\n",
    b'{"type":"message","message_id":"nul","text":"NUL \\u0000 and half a pair \\ud83d."}\n',
    b"{not json\n",
    b'["an","array"]\n',
    b"42\n",
    b"\n",
    b'{"type":"weather","sky":"blue"}\n',
    b'{"type":"tool_use","id":7,"name":null}\n',
    b'{"type":"weather","ends":"with CR LF"}\r\n',
    b"[" * 3_000 + b"\n",
    b'{"sky":' * 1_500 + b"1" + b"}" * 1_500 + b"\n",
)
"""Bad UTF-8 in and outside a frame, NUL, half a surrogate pair, bad JSON, JSON of another shape, an empty line,
unknown and malformed frames, and nesting that exhausts a parser's stack."""


def garbage(turn: Turn) -> None:
    """Print what no agent should, then half a line, then its other half."""
    for line in GARBAGE:
        turn.agent.wire.put(line)
    turn.agent.wire.put(b'{"type":"weather",')
    turn.pause(0.02)
    turn.agent.wire.put(b'"comes":"in two halves"}\n')


def long(turn: Turn, size: int) -> None:
    """Print a message whose line has `size` bytes, newline not counted."""
    turn.agent.wire.put(_padded({"type": "message", "message_id": turn.next_id("msg")}, size))


def _padded(frame: Frame, size: int) -> bytes:
    bare = encode({**frame, "text": ""})
    return encode({**frame, "text": "x" * max(0, size - len(bare) + 1)})


def long_ask(turn: Turn, size: int) -> None:
    """Ask a permission whose input has `size` bytes."""
    with Tool(turn, "Write", {"file_path": "long.txt"}) as tool:
        tool.input = {"file_path": "long.txt", "content": "x" * size}
        if turn.permit(tool, "Write a long file"):
            tool.done("It was allowed.")


def crash(turn: Turn, how: str) -> None:
    """End the process in mid turn, with an exit code or by a signal."""
    sys.stderr.write(f"demo agent: crashing as told ({how})\n")
    sys.stderr.flush()
    if how.isdigit():
        os._exit(int(how) & 0xFF)
    number = signal.Signals[f"SIG{how.upper().removeprefix('SIG')}"]
    if number not in {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    turn.pause(1)


def how_to_crash(text: str) -> str:
    """An exit code or the name of a signal."""
    if not text.isdigit() and f"SIG{text.upper().removeprefix('SIG')}" not in signal.Signals.__members__:
        raise ValueError(f"{text} is neither an exit code nor a signal")
    return text


def leave(turn: Turn, code: int) -> None:
    """End the turn well, then leave."""
    turn.agent.exit_code = code
    raise EndTurn("completed", "end_turn")


def unfinished(turn: Turn) -> None:
    """End the turn well, but leave without the newline of the last frame."""
    turn.last_byte = b""
    leave(turn, 0)


def hang(turn: Turn) -> None:
    """Do nothing, deaf to interrupts."""
    ignore_interrupt(turn)
    # Said once it is so: whoever interrupts after this is not heard.
    turn.think("I hang.")
    turn.wait_for_the_end()


def ignore_interrupt(turn: Turn) -> None:
    """Be deaf to interrupts for the rest of this turn."""
    turn.agent.deaf = True


def ignore_term(turn: Turn) -> None:
    """Ignore SIGTERM, SIGINT, SIGHUP and the end of stdin for the life of this process."""
    turn.agent.wire.stubborn = True
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Not SIG_IGN: that would be inherited by the commands it runs.
        signal.signal(number, lambda *_: None)


def stderr(_turn: Turn, text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def orphan(turn: Turn, path: str) -> None:
    """Leave a grandchild behind, in a session of its own, that counts in a file; its output goes nowhere."""
    _leave_behind(turn, path, keep_stdout=False)


def orphan_holding(turn: Turn, path: str) -> None:
    """As `orphan`, but it keeps the agent's stdout open, so that the pipe does not end with the agent."""
    _leave_behind(turn, path, keep_stdout=True)


def _leave_behind(turn: Turn, path: str, *, keep_stdout: bool) -> None:
    with Tool(turn, "Orphan", {"file_path": path}) as tool:
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            tool.done(reason(error), is_error=True)
            return
        pid = _fork_twice(file, keep_stdout=keep_stdout)
        os.close(file)
        tool.done(f"Process {pid} counts in {path}.")


def _fork_twice(file: int, *, keep_stdout: bool) -> int:
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        _become_orphan(file, writable, keep_stdout=keep_stdout)
    os.close(writable)
    os.waitpid(child, 0)
    pid = int(os.read(readable, 32))
    os.close(readable)
    return pid


def _become_orphan(file: int, told: int, *, keep_stdout: bool) -> None:
    try:
        os.setsid()
        if os.fork() == 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 2) if keep_stdout else (0, 1, 2):
                os.dup2(nowhere, fd)
            os.write(told, str(os.getpid()).encode())
            _count(file)
    finally:
        os._exit(0)


def _count(file: int) -> None:
    until = time.monotonic() + MAX_STUBBORN_S
    n = 0
    while time.monotonic() < until:
        n += 1
        os.pwrite(file, f"{n}\n".encode(), 0)
        time.sleep(ORPHAN_BEAT_S)
