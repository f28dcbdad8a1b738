"""Codex as an agent of Corral: how it is started, and what it can do."""

from __future__ import annotations

from collections.abc import Sequence

from shared.agents.codex import config, outcome, rollout
from shared.agents.codex.dialogue import CodexDialogue
from shared.agents.driver import Abilities, Dialogue, File, Launch, LaunchOptions, Profile, TurnEnd
from shared.domain.session import Mode


class CodexDriver:
    """See `shared.agents.driver.Driver`. Speaks the app-server protocol of Codex 0.163.0 to 0.169.0 over stdio."""

    name = "codex"
    program = "codex"
    version_args: Sequence[str] = ("--version",)
    abilities = Abilities(
        modes=frozenset(Mode),
        questions=True,
        plans=True,
        steer=True,
        resume=True,
        deny_reason=True,
        allow_always=True,
        commands=frozenset({"clear", "compact", "plan"}),
        fork=True,
        attach=True,
        profile=Profile(hosts=("api.openai.com", "auth.openai.com", "chatgpt.com")),
    )

    def launch(self, options: LaunchOptions) -> Launch:
        """How to start Codex; which conversation it begins or resumes is said to it by the dialogue."""
        files = [File(config.PATH, config.rendered(options.mcp_servers))]
        known, goes_on = rollout.read(options.agent_session_id, options.transcript), not options.fork
        if known.path:
            files.append(known.laid_down())
        return Launch(
            # It synchronizes plugins with GitHub and ChatGPT otherwise.
            argv=[*options.command, "app-server", "--disable", "plugins"],
            env={"CODEX_HOME": f"{options.home}/{rollout.CODEX_HOME}", "HOME": options.home},
            files=files,
            mirrored_paths=[known.path] if known.path and goes_on else [],
            agent_session_id=options.agent_session_id if goes_on else None,
        )

    def dialogue(self, options: LaunchOptions) -> Dialogue:
        """A conversation for a process that `launch(options)` started."""
        return CodexDialogue(options)

    def is_stale(self, end: TurnEnd) -> bool:
        """Whether Codex does not know the conversation it was to resume."""
        return end.stop_reason == outcome.UNKNOWN_CONVERSATION
