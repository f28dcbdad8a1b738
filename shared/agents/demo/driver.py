"""The demo agent that comes with Corral: a real process, without a model or a key."""

from __future__ import annotations

from collections.abc import Sequence

from shared.agents.demo.dialogue import DemoDialogue
from shared.agents.driver import Abilities, File, Launch, LaunchOptions, Login, Profile, TurnEnd
from shared.domain.session import Mode


class DemoDriver:
    """Starts the demo agent and speaks with it."""

    name = "demo"
    abilities = Abilities(
        modes=frozenset(Mode),
        questions=True,
        plans=True,
        steer=True,
        resume=True,
        cost=True,
        deny_reason=True,
        changed_input=True,
        allow_always=True,
        fork=True,
        attach=True,
        commands=frozenset({"clear", "compact", "context", "model"}),
        profile=Profile(tested=("1.0", "1.0"), login=Login(is_needed=False), models=("demo-1",)),
    )
    program = "corral-demo-agent"
    version_args: Sequence[str] = ("--version",)

    def launch(self, options: LaunchOptions) -> Launch:
        """A conversation named after the session, or the one to resume, its transcript restored where it is lost."""
        known, fresh = options.agent_session_id, f"demo-{options.session.removeprefix('ses_')}"
        begins = options.fork or not known
        ours = fresh if begins or known is None else known
        argv = [*options.command]
        argv += [f"--resume={known}"] if known else []
        argv += [f"--session-id={fresh}"] if begins else []
        argv.append(f"--mode={options.mode}")
        if options.model:
            argv.append(f"--model={options.model}")
        if options.allow_bypass or options.mode is Mode.BYPASS:
            argv.append("--allow-bypass")
        if options.max_turn_cost_usd is not None:
            argv.append(f"--max-turn-cost-usd={options.max_turn_cost_usd}")
        return Launch(argv, {"HOME": options.home}, files=_restored(options), agent_session_id=ours)

    def dialogue(self, options: LaunchOptions) -> DemoDialogue:
        """A fresh conversation; it needs to know nothing of how it was started."""
        return DemoDialogue()

    def is_stale(self, end: TurnEnd) -> bool:
        """The agent comes up for a conversation it does not know, and ends the first turn with this reason."""
        return end.stop_reason == "unknown_conversation"


def _restored(options: LaunchOptions) -> Sequence[File]:
    if not options.agent_session_id or not options.transcript:
        return ()
    content = "".join(f"{entry}\n" for entry in options.transcript).encode()
    return (File(f".corral-demo/{options.agent_session_id}.jsonl", content, keep_longer=True),)
