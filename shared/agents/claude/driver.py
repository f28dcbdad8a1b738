"""Claude Code as an agent of Corral: how it is started, and what it can do."""

from __future__ import annotations

import json
from collections.abc import Sequence

from shared.agents.claude import outcome
from shared.agents.claude.dialogue import ClaudeDialogue
from shared.agents.claude.modes import CLAUDE_MODES
from shared.agents.claude.transcript import CONFIG_DIR, conversation_id, laid_down, path_of
from shared.agents.driver import Abilities, Dialogue, File, Launch, LaunchOptions, Login, Profile, TurnEnd
from shared.domain.session import Mode

_MCP_FILE = "mcp.json"

_PROTOCOL: Sequence[str] = (
    "-p",
    "--input-format",
    "stream-json",
    "--output-format",
    "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--permission-prompt-tool",
    "stdio",
    "--session-mirror",
    # A cloned repository brings its own `.claude/settings.json` and `.mcp.json`: neither may add hooks,
    # permissions or servers.
    "--setting-sources",
    "",
    "--strict-mcp-config",
)


class ClaudeDriver:
    """See `shared.agents.driver.Driver`. Speaks the stream-json protocol of Claude Code 2.1.329."""

    name = "claude"
    program = "claude"
    version_args: Sequence[str] = ("--version",)
    abilities = Abilities(
        modes=frozenset(Mode),
        questions=True,
        plans=True,
        resume=True,
        cost=True,
        deny_reason=True,
        changed_input=True,
        allow_always=True,
        fork=True,
        attach=True,
        commands=frozenset({"clear", "compact", "context", "model", "plan", "rename", "usage"}),
        profile=Profile(
            tested=("2.1.197", "2.1.329"),
            # Each session has a configuration directory of its own, so a login of the operator's is not seen.
            login=Login(
                variables=(
                    "ANTHROPIC_API_KEY",
                    "ANTHROPIC_AUTH_TOKEN",
                    "CLAUDE_CODE_OAUTH_TOKEN",
                    "CLAUDE_CODE_USE_BEDROCK",
                    "CLAUDE_CODE_USE_VERTEX",
                )
            ),
            models=("default", "opus", "sonnet", "haiku"),
            hosts=("api.anthropic.com", "claude.ai", "platform.claude.com"),
        ),
    )

    def launch(self, options: LaunchOptions) -> Launch:
        """How to start or resume Claude Code. `options.cwd` is a real path, without symbolic links."""
        conversation = _conversation(options)
        return Launch(
            argv=[*options.command, *_PROTOCOL, *_arguments(options, conversation)],
            env=_environment(options),
            files=_files(options),
            mirrored_paths=[path_of(options.cwd, conversation)],
            agent_session_id=conversation,
        )

    def dialogue(self, options: LaunchOptions) -> Dialogue:
        """A conversation for a process that `launch(options)` started."""
        return ClaudeDialogue(options, _conversation(options))

    def is_stale(self, end: TurnEnd) -> bool:
        """Whether Claude Code does not know the conversation it was to resume.

        Such an end comes also where no prompt was sent: the agent says so at once and exits.
        """
        return end.stop_reason == outcome.UNKNOWN_CONVERSATION


def _conversation(options: LaunchOptions) -> str:
    if options.agent_session_id and not options.fork:
        return options.agent_session_id
    return conversation_id(options.session, len(options.transcript))


def _arguments(options: LaunchOptions, conversation: str) -> Sequence[str]:
    # In the form with `=`, an id or a model that begins with a dash cannot become an option of its own.
    arguments = [f"--resume={options.agent_session_id}"] if options.agent_session_id else []
    if options.fork:
        arguments.append("--fork-session")
    if options.fork or not options.agent_session_id:
        arguments.append(f"--session-id={conversation}")
    # Without its settings a workspace's CLAUDE.md would not be read either; named as a directory, it is.
    arguments.append(f"--add-dir={options.cwd}")
    if options.mode is not Mode.BYPASS or options.allow_bypass:
        arguments.append(f"--permission-mode={CLAUDE_MODES[options.mode]}")
    if options.model:
        arguments.append(f"--model={options.model}")
    if options.allow_bypass:
        arguments.append("--allow-dangerously-skip-permissions")
    if options.mcp_servers:
        arguments.append(f"--mcp-config={options.home}/{_MCP_FILE}")
    return arguments


def _environment(options: LaunchOptions) -> dict[str, str]:
    environment = {
        "CLAUDE_CONFIG_DIR": f"{options.home}/{CONFIG_DIR}",
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
    }
    if options.allow_bypass:
        # As root, Claude Code bypasses permissions only where it is told that it sits in a sandbox.
        environment["IS_SANDBOX"] = "1"
    return environment


def _files(options: LaunchOptions) -> list[File]:
    files = []
    if options.mcp_servers:
        # A file and not an argument: the servers' settings may hold secrets, and arguments are public.
        body = json.dumps({"mcpServers": options.mcp_servers}).encode()
        files.append(File(_MCP_FILE, body))
    if options.agent_session_id and options.transcript:
        transcript = laid_down(options.cwd, options.agent_session_id, options.transcript)
        files += [transcript] if transcript else []
    return files
