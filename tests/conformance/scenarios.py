"""What every agent must be able to go through: one table, in words no agent owns.

`sayings.py` tells how each agent is brought to do what a key names; a scenario an agent lacks the ability for is
not asked of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from shared.agents.registry import DRIVERS
from shared.domain.ask import Answer, AskKind, PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.conformance.sayings import LIVE


class Instead(Enum):
    """What happens in place of an answer to an ask."""

    INTERRUPT = "interrupt"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt or command and what must come of it."""

    says: str
    """Key into the agent's sayings; of a command, `/` and its name."""
    answers: Sequence[Answer | Instead] = ()
    """To its asks, in order; every one of them must be used."""
    asks: Sequence[AskKind] = ()
    """The kinds of its asks, in order."""
    on_first: EventType | None = None
    """The event at which `then` happens."""
    then: Instead | None = None
    steers: str | None = None
    """What is said into the running turn at `on_first`; key into the agent's sayings."""
    status: TurnStatus = TurnStatus.COMPLETED
    stop_reason: str | None = None
    shows: Sequence[EventType] = ()
    """Types of which at least one event must come."""
    lacks: Sequence[EventType] = ()
    text: str | None = None
    """What its messages must contain."""
    tool_says: str | None = None
    """What the output of one of its tools must contain."""
    tool_fails: bool | None = None
    """Whether one of its tools must (or none may) have failed."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Turns of one session, in order."""

    name: str
    turns: Sequence[Turn]
    mode: Mode = Mode.INTERACTIVE
    needs: Sequence[str] = ()
    """Abilities without which the scenario makes no sense for an agent."""
    restart_before: int | None = None
    """The process is killed before this turn and resumed in a new one."""
    new_home: bool = False
    """The resumed process gets an empty home: only the mirrored transcript is left."""
    forks: bool = False
    """The later process goes on with a copy of the conversation, as another session."""
    mode_after: Mode | None = None


ALLOW = PermissionAnswer(Verdict.ALLOW)
ALWAYS = PermissionAnswer(Verdict.ALLOW_ALWAYS)
DENY = PermissionAnswer(Verdict.DENY, message="not on a Friday")
DENY_AND_STOP = PermissionAnswer(Verdict.DENY, message="enough", stop=True)
CHANGED = PermissionAnswer(Verdict.ALLOW, input={"command": "echo changed-by-a-human"})
APPROVE = PlanAnswer(approve=True, next_mode=Mode.ACCEPT_EDITS)
REJECT = PlanAnswer(approve=False, feedback="think of the children")
BLUE = QuestionAnswer({"Which colour?": "blue"})
DECLINE = QuestionAnswer(None, message="ask me later")

PERMISSION = (AskKind.PERMISSION,)

SCENARIOS: Sequence[Scenario] = (
    Scenario(
        "plain text",
        [Turn("plain", shows=[EventType.MESSAGE_CHUNK, EventType.MESSAGE], text="hello conformance")],
    ),
    Scenario(
        "a friendly prompt in words of no script",
        [Turn("free", shows=[EventType.MESSAGE], lacks=[EventType.ERROR])],
        mode=Mode.ACCEPT_EDITS,
    ),
    Scenario(
        "a tool",
        [Turn("tool", shows=[EventType.TOOL_CALL, EventType.TOOL_RESULT], tool_says="from-a-tool", tool_fails=False)],
        mode=Mode.BYPASS,
    ),
    Scenario("a tool that fails", [Turn("failing tool", tool_fails=True)], mode=Mode.BYPASS),
    Scenario("permission allowed", [Turn("tool", [ALLOW], PERMISSION, tool_says="from-a-tool", tool_fails=False)]),
    Scenario(
        "permission denied, the turn goes on",
        [Turn("tool", [DENY], PERMISSION, tool_says="not on a Friday", tool_fails=True)],
        needs=["deny_reason"],
    ),
    Scenario(
        "permission denied with stop",
        [
            Turn(
                "tool",
                [DENY_AND_STOP],
                PERMISSION,
                status=TurnStatus.CANCELLED,
                stop_reason="denied",
                lacks=[EventType.MESSAGE],
            ),
            Turn("plain", text="hello conformance"),
        ],
    ),
    Scenario(
        "permission with changed input",
        [Turn("tool", [CHANGED], PERMISSION, tool_says="changed-by-a-human", tool_fails=False)],
        needs=["changed_input"],
    ),
    Scenario(
        "permission allowed for good",
        [
            Turn("tool", [ALWAYS], PERMISSION, tool_says="from-a-tool"),
            Turn("tool", tool_says="from-a-tool", tool_fails=False),
        ],
        needs=["allow_always"],
    ),
    Scenario(
        "plan approved",
        [Turn("plan", [APPROVE], [AskKind.PLAN], text="after the plan")],
        mode=Mode.PLAN,
        needs=["plans"],
        mode_after=Mode.ACCEPT_EDITS,
    ),
    Scenario(
        "plan rejected",
        [Turn("plan", [REJECT], [AskKind.PLAN], text="think of the children", lacks=[EventType.TOOL_CALL])],
        mode=Mode.PLAN,
        needs=["plans"],
    ),
    Scenario("question answered", [Turn("question", [BLUE], [AskKind.QUESTION], text="blue")], needs=["questions"]),
    Scenario(
        "question declined",
        [Turn("question", [DECLINE], [AskKind.QUESTION], text="ask me later")],
        needs=["questions"],
    ),
    Scenario(
        "interrupted in mid text",
        [
            Turn("long text", on_first=EventType.MESSAGE_CHUNK, then=Instead.INTERRUPT, status=TurnStatus.CANCELLED),
            Turn("plain", text="hello conformance"),
        ],
    ),
    Scenario(
        "interrupted in a tool",
        [
            Turn(
                "long tool",
                on_first=EventType.TOOL_CALL,
                then=Instead.INTERRUPT,
                status=TurnStatus.CANCELLED,
                stop_reason="interrupted",
                tool_fails=True,
            ),
            Turn("plain", text="hello conformance"),
        ],
        mode=Mode.BYPASS,
    ),
    Scenario(
        "interrupted while it asks",
        [
            Turn("tool", [Instead.INTERRUPT], PERMISSION, status=TurnStatus.CANCELLED, stop_reason="interrupted"),
            Turn("plain", text="hello conformance"),
        ],
    ),
    Scenario("the second prompt remembers", [Turn("remember"), Turn("recall", text="the word is quince")]),
    Scenario(
        "resumed in a new process",
        [Turn("remember"), Turn("recall", text="the word is quince")],
        needs=["resume"],
        restart_before=1,
    ),
    Scenario(
        "resumed where its home is lost",
        [Turn("remember"), Turn("recall", text="the word is quince")],
        needs=["resume"],
        restart_before=1,
        new_home=True,
    ),
    Scenario(
        "forked into another session",
        [Turn("remember"), Turn("recall", text="the word is quince")],
        needs=["fork"],
        restart_before=1,
        new_home=True,
        forks=True,
    ),
    Scenario(
        "killed in mid turn",
        [
            Turn(
                "long tool",
                on_first=EventType.TOOL_CALL,
                then=Instead.KILL,
                status=TurnStatus.FAILED,
                stop_reason="agent_exited",
            )
        ],
        mode=Mode.BYPASS,
    ),
    Scenario(
        "killed while it asks",
        [Turn("tool", [Instead.KILL], PERMISSION, status=TurnStatus.FAILED, stop_reason="agent_exited")],
    ),
    Scenario("unknown frames", [Turn("garbage", shows=[EventType.NOTICE], text="still here")]),
    Scenario("usage", [Turn("plain", shows=[EventType.USAGE])], needs=["cost"]),
    Scenario("a failed turn", [Turn("failure", status=TurnStatus.FAILED), Turn("plain", text="hello conformance")]),
    Scenario(
        "steered",
        [
            Turn(
                "heedful",
                on_first=EventType.MESSAGE,
                steers="steer",
                shows=[EventType.MESSAGE],
                text="as you steer",
            ),
            Turn("plain", text="hello conformance"),
        ],
        needs=["steer"],
    ),
    Scenario(
        "compacted",
        [
            Turn("remember"),
            Turn("/compact", shows=[EventType.NOTICE], lacks=[EventType.ERROR]),
            Turn("plain", text="hello conformance"),
        ],
    ),
    Scenario("the second of two turns is a command", [Turn("plain"), Turn("/context", shows=[EventType.MESSAGE])]),
    Scenario("a to-do list", [Turn("todo", shows=[EventType.PLAN_UPDATE])]),
)


def asked_of(agent: str, prompts: Collection[str] | None = None) -> list[Scenario]:
    """The scenarios that an agent has the abilities and the words for; those of its sayings where none are given."""
    abilities = DRIVERS[agent].abilities
    if prompts is None:
        prompts = LIVE[agent].prompts
    return [
        scenario
        for scenario in SCENARIOS
        if all(getattr(abilities, need) for need in scenario.needs)
        and scenario.mode in abilities.modes
        and all(can_say(agent, turn, prompts) for turn in scenario.turns)
        and not (agent in LIVE and scenario.name in LIVE[agent].leaves_out)
    ]


def can_say(agent: str, turn: Turn, prompts: Collection[str]) -> bool:
    """Whether an agent with these words can be brought to that turn."""
    if turn.says.startswith("/"):
        return turn.says.removeprefix("/") in DRIVERS[agent].abilities.commands
    return turn.says in prompts and (turn.steers is None or turn.steers in prompts)
