"""Frames that only inform: retries, tasks, compaction."""

from __future__ import annotations

from shared.agents.claude import frames
from shared.agents.driver import Emit
from shared.agents.notices import notice
from shared.domain.event import EventType
from shared.domain.json import JsonObject

SILENT = frozenset(
    {
        # Types and system subtypes that repeat what other frames say, or concern a terminal alone.
        "api_request", "auth_status", "background_tasks_changed", "bridge_state", "bridge_status", "checkpoint_done",
        "commands_changed", "control_request_progress", "file_snapshot", "files_persisted", "hook_progress",
        "hook_response", "hook_started", "keep_alive", "memory_recall", "memory_saved", "per_turn_effort_changed",
        "permission_check_status", "plugin_install", "post_turn_summary", "prompt_suggestion", "session_metadata",
        "session_title_changed", "shell_cwd", "start_folder", "stop_hook_summary", "task_progress", "task_summary",
        "task_updated", "thinking_tokens", "tool_progress", "tool_use_summary", "turn_began_before_init",
        "turn_duration", "turn_starting", "ui_invalidate", "vcs_state_changed",
    }
)  # fmt: skip


def retrying(frame: JsonObject) -> list[Emit]:
    """The model's API failed and is tried again."""
    delay_ms = frames.number(frame, "retry_delay_ms")
    status = frames.number(frame, "error_status")
    data = frames.present(
        attempt=frames.count(frame, "attempt"),
        max_attempts=frames.count(frame, "max_retries"),
        delay_s=None if delay_ms is None else delay_ms / 1000,
        status=None if status is None else int(status),
        error=frames.text(frame, "error"),
    )
    return [Emit(EventType.RETRYING, data)]


def task_started(frame: JsonObject) -> list[Emit]:
    """A subagent or a long command goes on by itself."""
    return [
        notice(
            "task_started",
            task_id=frames.text(frame, "task_id"),
            task_type=frames.text(frame, "task_type"),
            tool_call_id=frames.text(frame, "tool_use_id"),
            description=frames.text(frame, "description"),
        )
    ]


def task_ended(frame: JsonObject) -> list[Emit]:
    """A subagent or a long command is done."""
    return [
        notice(
            "task_ended",
            task_id=frames.text(frame, "task_id"),
            tool_call_id=frames.text(frame, "tool_use_id"),
            status=frames.text(frame, "status"),
            summary=frames.cut(frames.text(frame, "summary"), 2000),
        )
    ]


def compacted(frame: JsonObject) -> list[Emit]:
    """The conversation so far was replaced by a summary."""
    facts = frames.obj(frame, "compact_metadata")
    return [
        notice(
            "compacted",
            trigger=frames.text(facts, "trigger"),
            tokens_before=frames.count(facts, "pre_tokens"),
            tokens_after=frames.count(facts, "post_tokens"),
        )
    ]


def informational(frame: JsonObject) -> list[Emit]:
    """The agent's own remark to its user."""
    said = frames.cut(frames.text(frame, "content"), 2000)
    return [notice("informational", message=said, level=frames.text(frame, "level"))]


def permission_denied(frame: JsonObject) -> list[Emit]:
    """A rule or a mode denied a tool; nobody was asked."""
    return [
        notice(
            "permission_denied",
            tool_name=frames.text(frame, "tool_name"),
            tool_call_id=frames.text(frame, "tool_use_id"),
            reason=frames.text(frame, "decision_reason_type"),
            message=frames.cut(frames.text(frame, "message"), 2000),
        )
    ]


def conversation_reset(frame: JsonObject) -> list[Emit]:
    """`/clear`: the agent has forgotten the conversation. Its new id follows with the next `init`."""
    return [notice("conversation_reset", trigger=frames.text(frame, "trigger"))]


def rate_limit(frame: JsonObject) -> list[Emit]:
    """The subscription's limit comes near or is reached; that all is well is no news."""
    facts = frames.obj(frame, "rate_limit_info")
    status = frames.text(facts, "status")
    if status in ("", "allowed"):
        return []
    return [
        notice(
            "rate_limit",
            status=status,
            window=frames.text(facts, "rateLimitType"),
            utilization=frames.number(facts, "utilization"),
            resets_at=frames.number(facts, "resetsAt"),
        )
    ]


def mirror_error(frame: JsonObject) -> list[Emit]:
    """Entries of the transcript could not be mirrored: a resume elsewhere may lack them."""
    return [notice("mirror_error", message=frames.cut(frames.text(frame, "error"), 2000))]
