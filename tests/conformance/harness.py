"""A host of its own for one agent process: spawns, writes, feeds, and keeps every output, with a deadline on all.

Small and synchronous on purpose: what it finds is the driver's doing, not the real host's.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

from shared.agents.driver import (
    AskOpen,
    Command,
    DialogueInput,
    Driver,
    Emit,
    ExitStatus,
    LaunchOptions,
    Leave,
    Output,
    Prompt,
    Ready,
    Send,
    Steer,
    Transcript,
    TurnEnd,
    WakeIn,
)
from shared.domain.event import EventType
from shared.domain.ids import TurnId, mint_session, mint_turn
from shared.domain.json import JsonObject
from shared.domain.session import Mode
from tests.conformance.recordings import options_as_step, plain
from workers.host import regular

DEADLINE_S = 20.0
LINE_LIMIT = 16 * 1024 * 1024
STDERR_TAIL = 4096

T = TypeVar("T", bound=Output)


def options_for(folder: Path, command: Sequence[str], mode: Mode = Mode.INTERACTIVE) -> LaunchOptions:
    """Options of a fresh session whose workspace and home lie under `folder`."""
    workspace, home = folder / "workspace", folder / "home"
    for each in (workspace, home):
        each.mkdir(parents=True, exist_ok=True)
    return LaunchOptions(
        session=mint_session(),
        command=command,
        cwd=str(workspace),
        home=str(home),
        mode=mode,
        model=None,
        agent_session_id=None,
        allow_bypass=mode is Mode.BYPASS,
    )


class Hosted:
    """One running agent. As a context it leaves no process behind."""

    def __init__(
        self, driver: Driver, options: LaunchOptions, *, line_limit: int = LINE_LIMIT, deadline_s: float = DEADLINE_S
    ) -> None:
        self.driver = driver
        self.options = options
        self.outputs: list[Output] = []
        self.turns: list[TurnId] = []
        self.steers: list[TurnId] = []
        self.steps: list[JsonObject] = [options_as_step(options)]
        """What went into the dialogue, as `recordings.py` keeps it."""
        self._line_limit = line_limit
        self._deadline_s = deadline_s
        self.dialogue = driver.dialogue(options)
        self._wake_at: float | None = None
        self._tail = b""
        self._seen = 0
        self.ended = False

    def __enter__(self) -> Self:
        launch = self.driver.launch(self.options)
        for file in launch.files:
            path = Path(self.options.home, file.path)
            if file.replaces(regular.lines(path)):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.content)
        stderr = Path(self.options.home, "stderr")
        with stderr.open("ab") as sink:
            self.process = subprocess.Popen(
                list(launch.argv),
                cwd=self.options.cwd,
                env={"PATH": os.environ["PATH"], **launch.env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                start_new_session=True,
            )
        self._stderr = stderr
        self._take(self.dialogue.open())
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(self._deadline_s)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    # --- what a test says ---

    def prompt(self, text: str) -> TurnId:
        """Start a turn."""
        turn = mint_turn()
        self.turns.append(turn)
        self.say(Prompt(turn, text))
        return turn

    def command(self, name: str, args: str = "") -> TurnId:
        """Start a turn that is a slash command."""
        turn = mint_turn()
        self.turns.append(turn)
        self.say(Command(turn, name, args))
        return turn

    def steer(self, text: str) -> TurnId:
        """Offer a text to the running turn; the turn it would be else."""
        turn = mint_turn()
        self.steers.append(turn)
        self.say(Steer(turn, text))
        return turn

    def say(self, said: DialogueInput) -> None:
        """Hand one wish to the dialogue."""
        self.steps.append({"send": plain(said)})
        self._take(self.dialogue.send(said))

    def turn(self, text: str) -> TurnEnd:
        """Prompt and wait for the end."""
        self.prompt(text)
        return self.until(TurnEnd)

    def until(self, kind: type[T], holds: Callable[[T], bool] = lambda _: True) -> T:
        """The first output of `kind` for which `holds`, among those not waited for yet.

        Raises:
            AssertionError: it did not come in time; the message shows what came instead.
        """
        deadline = time.monotonic() + self._deadline_s
        while True:
            while self._seen < len(self.outputs):
                output = self.outputs[self._seen]
                self._seen += 1
                if isinstance(output, kind) and holds(output):
                    return output
            shown = self.outputs[-20:]
            assert not self.ended, f"the agent has ended without {kind.__name__}; its last outputs: {shown}"
            assert time.monotonic() < deadline, f"no {kind.__name__} in {self._deadline_s} s; last outputs: {shown}"
            self.step(deadline - time.monotonic())

    def leave(self) -> ExitStatus:
        """Ask the agent to go, close its stdin, and take its last outputs."""
        self.say(Leave())
        return self.hang_up()

    def hang_up(self) -> ExitStatus:
        """Close the agent's stdin and read to the end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.to_end()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> ExitStatus:
        """End the process by a signal and take its last outputs."""
        self.process.send_signal(number)
        return self.to_end()

    def to_end(self) -> ExitStatus:
        """Read until the process has ended, and tell the dialogue."""
        deadline = time.monotonic() + self._deadline_s
        while not self.ended:
            assert time.monotonic() < deadline, "the agent does not end"
            self.step(deadline - time.monotonic())
        return self.status

    def again(self, **changes: object) -> LaunchOptions:
        """Options that resume this conversation."""
        known = self.all(Ready)[-1].agent_session_id
        return replace(self.options, agent_session_id=known, **changes)  # type: ignore[arg-type]

    # --- what came ---

    def all(self, kind: type[T]) -> list[T]:
        """All outputs of one kind."""
        return [output for output in self.outputs if isinstance(output, kind)]

    def events(self, kind: EventType) -> list[JsonObject]:
        """Data of all events of one type."""
        return [emit.data for emit in self.all(Emit) if emit.type is kind]

    def texts(self) -> str:
        """Everything the agent said, whole messages only."""
        return "\n".join(str(data["text"]) for data in self.events(EventType.MESSAGE))

    def transcript(self) -> list[str]:
        """All mirrored entries."""
        return [entry for output in self.all(Transcript) for entry in output.entries]

    def asks(self) -> list[AskOpen]:
        """All asks that were opened."""
        return self.all(AskOpen)

    # --- the work ---

    def step(self, timeout_s: float) -> None:
        """Read once, or wake the dialogue where its time has come."""
        assert self.process.stdout is not None
        wait_s = timeout_s if self._wake_at is None else min(timeout_s, self._wake_at - time.monotonic())
        pipe = self.process.stdout.fileno()
        if select.select([pipe], [], [], max(0.0, wait_s))[0]:
            self._read(os.read(pipe, 1 << 20))
        elif self._wake_at is not None and time.monotonic() >= self._wake_at:
            self._wake_at = None
            self.steps.append({"woke": True})
            self._take(self.dialogue.woke())

    def _read(self, data: bytes) -> None:
        *lines, self._tail = (self._tail + data).split(b"\n")
        for line in lines:
            self._feed(line)
        if data:
            return
        if self._tail:
            self._feed(self._tail)
        code = self.process.wait(self._deadline_s)
        tail = self._stderr.read_bytes()[-STDERR_TAIL:].decode(errors="backslashreplace")
        self.status = ExitStatus(code, None, tail) if code >= 0 else ExitStatus(None, -code, tail)
        self.steps.append({"end": {"code": self.status.code, "signal": self.status.signal, "stderr_tail": tail}})
        self._take(self.dialogue.end(self.status))
        self.ended = True

    def _feed(self, line: bytes) -> None:
        kept = line[: self._line_limit].decode("utf-8", "backslashreplace")
        dropped = max(0, len(line) - self._line_limit)
        self.steps.append({"line": kept} | ({"dropped": dropped} if dropped else {}))
        self._take(self.dialogue.feed(kept, dropped=dropped))

    def _take(self, outputs: Sequence[Output]) -> None:
        self.outputs += outputs
        for output in outputs:
            if isinstance(output, Send):
                self._write(output.data)
            elif isinstance(output, WakeIn):
                self._wake_at = None if output.seconds is None else time.monotonic() + output.seconds

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            # It has ended already; what it said before that is still to be read.
            return
