"""What every agent driver is: a pure translator between Corral's words and one agent's protocol.

A driver touches no socket, process, file or clock. The host spawns what `launch` describes, writes
what `Send` holds, feeds each line of the agent's output, and carries out the other outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from shared.domain import versions
from shared.domain.ask import Answer, AskKind
from shared.domain.event import EventType
from shared.domain.ids import SessionId, TurnId
from shared.domain.json import JsonObject
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from shared.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class Login:
    """How to tell, without starting the agent, whether it can reach its model. Nobody looks at what is in there."""

    variables: Sequence[str] = ()
    """Environment variables any one of which is enough."""
    files: Sequence[str] = ()
    """Files under the home of the worker's own user any one of which is enough."""
    is_needed: bool = True
    """False: the agent needs no account at all."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of an agent's program beforehand. Each default says that it is not known."""

    tested: tuple[str, str] | None = None
    """The oldest and the newest version this driver was held to."""
    login: Login | None = None
    models: Sequence[str] = ()
    """Models it is known to take. It may take others."""
    since: Mapping[str, str] = field(default_factory=dict)
    """Versions that brought an ability, by the ability's name; an older program lacks it."""
    hosts: Sequence[str] = ()
    """Domains its model and its login are at, as an allow-list names them: no session needs leave for them."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an agent can do; what it cannot is refused with `unsupported` and shown in `/v1/agents`."""

    modes: frozenset[Mode]
    questions: bool = False
    plans: bool = False
    steer: bool = False
    """Takes a message into the running turn."""
    resume: bool = False
    cost: bool = False
    deny_reason: bool = False
    changed_input: bool = False
    allow_always: bool = False
    commands: frozenset[str] = frozenset()
    """Slash commands it takes, without the slash: compact, clear, context, model, …"""
    fork: bool = False
    """Can begin a new conversation from a copy of an earlier one."""
    attach: bool = False
    """Can go on with a conversation that was begun outside of Corral, given its transcript."""
    profile: Profile = field(default_factory=Profile)

    def shown(self, version: str | None) -> Mapping[str, bool]:
        """Abilities beside modes, by name, as the program of this version has them; None: as the newest has them."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: value and not versions.is_older(version, self.profile.since.get(name))
            for name, value in named.items()
            if isinstance(value, bool)
        }


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """Everything a driver may know when it says how its agent is started."""

    session: SessionId
    command: Sequence[str]
    """The agent's program (and leading arguments) as the operator configured or PATH gave it."""
    cwd: str
    """The workspace, as the agent will see it."""
    home: str
    """A private directory of this session for the agent's own state; survives restarts on this volume."""
    mode: Mode
    model: str | None
    agent_session_id: str | None
    """The id the agent gave (or was given) before; set means: resume that conversation."""
    fork: bool = False
    """`agent_session_id` (and `transcript`) name a conversation to copy, which stays as it is. The copy gets an id of
    its own, told by `Launch.agent_session_id` or `Ready`.
    """
    transcript: Sequence[str] = ()
    """All mirrored transcript entries so far (JSON lines, in order), for a home that has lost them."""
    mcp_servers: JsonObject = field(default_factory=dict)
    allow_bypass: bool = False
    max_turn_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file the host writes under `home` before the spawn, mode 0600. `path` is relative to home."""

    path: str
    content: bytes
    keep_longer: bool = False
    """Leave a file that is there and has at least as many lines: the agent's own is ahead of what was mirrored of it,
    but not when a crash has cut it off, or on a disk that was restored from an older day.
    """

    def replaces(self, present_lines: int | None) -> bool:
        """Whether to write this one in place of one with so many lines; None: there is none."""
        return present_lines is None or not self.keep_longer or present_lines < self.content.count(b"\n")


@dataclass(frozen=True, slots=True)
class Launch:
    """How the agent is started."""

    argv: Sequence[str]
    env: Mapping[str, str]
    """Added to the allow-listed environment the host gives every agent."""
    files: Sequence[File] = ()
    mirrored_paths: Sequence[str] = ()
    """Files under `home` whose content the host reads back into the store when the process has ended."""
    agent_session_id: str | None = None
    """The agent's own id where the driver chooses it (a resumed one stays)."""


# --- what a host gives a dialogue -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prompt:
    """Start a turn. The host sends the next prompt only after `TurnEnd` of the one before."""

    turn: TurnId
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command; it runs as a turn. Only names in `Abilities.commands` are sent, and only after `TurnEnd`."""

    turn: TurnId
    name: str
    """Without the slash."""
    args: str = ""


@dataclass(frozen=True, slots=True)
class Steer:
    """Take this text into the running turn. Answered soon, once, by `Steered` or `SteerRefused`.

    Whatever has no answer when the turn ends runs as a turn of its own: a `Steered` may not come behind the `TurnEnd`.
    """

    turn: TurnId
    """The turn the text runs as where the agent does not take it; not the running one."""
    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A human's (or the expiry's) answer to the ask that was opened with `ref`."""

    ref: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop the running turn, keep the session. A `TurnEnd` follows; harmless when nothing runs."""


@dataclass(frozen=True, slots=True)
class SetMode:
    """Change how freely the agent acts."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class SetModel:
    """Change the model; None is the agent's default."""

    model: str | None


@dataclass(frozen=True, slots=True)
class Leave:
    """Ask the agent to end by itself. The host closes its stdin after the bytes this yields."""


DialogueInput: TypeAlias = Prompt | Command | Steer | Reply | Interrupt | SetMode | SetModel | Leave


# --- what a dialogue gives a host -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for the agent's stdin, whole lines."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Emit:
    """An event for the log that changes no state of Corral (message, tool_call, usage, notice, …)."""

    type: EventType
    data: JsonObject


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent is up and takes prompts. Sent once per process, and again when its own id changes."""

    agent_session_id: str | None
    model: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class AskOpen:
    """The agent waits for a human. `ref` is its name for the request; `data` is what the human is shown:

    permission: `{tool_name, input, description?, tool_call_id?, suggestions?}`
    question:   `{questions: [{question, header?, options: [{label, description?}], multi_select}]}`
    plan:       `{plan}`
    """

    ref: str
    kind: AskKind
    data: JsonObject


@dataclass(frozen=True, slots=True)
class AskWithdrawn:
    """The agent no longer waits for `ref` (interrupted, or moved on)."""

    ref: str
    reason: str


@dataclass(frozen=True, slots=True)
class AskApplied:
    """The answer to `ref` is among the bytes of the `Send` before this output."""

    ref: str


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The running turn is over. Exactly one per Prompt or Command, unless the process ends first."""

    status: TurnStatus
    stop_reason: str
    result_text: str | None = None
    error: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    """Cost of this turn alone."""


@dataclass(frozen=True, slots=True)
class Steered:
    """The text of that `Steer` has been taken into the running turn."""

    turn: TurnId


@dataclass(frozen=True, slots=True)
class SteerRefused:
    """Nothing runs any more, or the agent cannot now: the text stays in the line and runs as a turn of its own."""

    turn: TurnId
    reason: str


@dataclass(frozen=True, slots=True)
class ModeNow:
    """The agent's mode has changed, by our wish or its own."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class Transcript:
    """Entries (JSON lines) of the agent's own transcript, to be kept so that another host can resume."""

    entries: Sequence[str]


@dataclass(frozen=True, slots=True)
class WakeIn:
    """Call `woke()` after this many seconds. A later WakeIn replaces it; None forgets it."""

    seconds: float | None


Output: TypeAlias = (
    Send
    | Emit
    | Ready
    | AskOpen
    | AskWithdrawn
    | AskApplied
    | TurnEnd
    | Steered
    | SteerRefused
    | ModeNow
    | Transcript
    | WakeIn
)


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How the process ended: one of the two is set. `stderr_tail` is the last 4 KiB it wrote there."""

    code: int | None = None
    signal: int | None = None
    stderr_tail: str = ""


class Dialogue(Protocol):
    """One conversation with one agent process. Never raises on anything the agent may print."""

    def open(self) -> Sequence[Output]:
        """The first bytes to say. `Ready` follows here or from a later line."""
        ...

    def send(self, said: DialogueInput) -> Sequence[Output]:
        """Translate one wish into bytes; may also emit what is already certain."""
        ...

    def feed(self, line: str, *, dropped: int = 0) -> Sequence[Output]:
        """One line of the agent's stdout, decoded with backslashreplace and without its newline.

        `dropped` bytes of it were cut off by the reader's limit; an ask inside such a line is denied.
        """
        ...

    def woke(self) -> Sequence[Output]:
        """The moment asked for with `WakeIn` has come."""
        ...

    def end(self, status: ExitStatus) -> Sequence[Output]:
        """The process is gone: end what is open (a running turn as failed, asks as withdrawn)."""
        ...


class Driver(Protocol):
    """One agent Corral can run. Stateless; one instance per process, found in `registry.py`."""

    name: str
    abilities: Abilities
    program: str
    """The command looked for on PATH when `CORRAL_<NAME>_COMMAND` is unset."""
    version_args: Sequence[str]
    """Arguments that make the program print its version and exit; none where it cannot be asked."""

    def launch(self, options: LaunchOptions) -> Launch:
        """How to start (or resume) the agent."""
        ...

    def dialogue(self, options: LaunchOptions) -> Dialogue:
        """A fresh conversation for a process that `launch(options)` started."""
        ...

    def is_stale(self, end: TurnEnd) -> bool:
        """Whether this end says that the conversation to resume is unknown, so that a fresh one must be started."""
        ...
