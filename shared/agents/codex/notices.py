"""Messages of Codex that only inform: warnings, retries, failures."""

from __future__ import annotations

import re

from shared.agents import jsonlines
from shared.agents.driver import Emit
from shared.agents.notices import Notices, notice
from shared.domain.event import EventType
from shared.domain.json import JsonObject

MAX_MESSAGE_CHARS = 2048
_RECONNECTING = re.compile(r"(\d{1,6})/(\d{1,6})")

SILENT = frozenset(
    {
        # Methods that repeat what others say, or concern a screen, an account or a file watcher alone.
        "account/login/completed", "account/updated", "app/list/updated", "command/exec/outputDelta", "fs/changed",
        "hook/completed", "hook/started", "item/autoApprovalReview/completed", "item/autoApprovalReview/started",
        "item/commandExecution/terminalInteraction", "item/fileChange/outputDelta", "item/fileChange/patchUpdated",
        "item/plan/delta", "item/reasoning/summaryPartAdded", "model/safetyBuffering/updated", "model/verification",
        "project/changed", "rawResponse/completed", "rawResponseItem/completed", "remoteControl/status/changed",
        "skills/changed", "thread/archived", "thread/attachment/updated", "thread/closed", "thread/compacted",
        "thread/deleted", "thread/environment/connected", "thread/environment/disconnected", "thread/goal/cleared",
        "thread/goal/updated", "thread/name/updated", "thread/prediction/updated", "thread/project/updated",
        "thread/queue/changed", "thread/readState/changed", "thread/reverted", "thread/settings/updated",
        "thread/started", "thread/status/changed", "thread/unarchived", "turn/moderationMetadata",
        "windows/worldWritableWarning", "windowsSandbox/setupCompleted",
    }
)  # fmt: skip

WARNINGS = {
    "configWarning": "config_warning",
    "deprecationNotice": "deprecated",
    "guardianWarning": "warning",
    "warning": "warning",
}
"""Methods that carry a text for people, and the notice they become."""


class CodexNotices(Notices):
    """Besides what is not understood, what Codex says again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._limit = ""

    def warning(self, kind: str, params: JsonObject) -> list[Emit]:
        """Codex warns of its configuration, of an old habit of ours, or of the conversation's length."""
        text = jsonlines.text(params, "message") or jsonlines.text(params, "summary")
        if not text or not self.is_new(f"{kind}\n{jsonlines.cut(text, 80)}", 1):
            return []
        return [notice(kind, message=jsonlines.cut(text, MAX_MESSAGE_CHARS))]

    def rate_limit(self, params: JsonObject) -> list[Emit]:
        """The account's limit was reached; that all is well is no news."""
        limits = jsonlines.obj(params, "rateLimits")
        before, self._limit = self._limit, jsonlines.cut(jsonlines.text(limits, "rateLimitReachedType"), 80)
        if not self._limit or self._limit == before:
            return []
        window = jsonlines.obj(limits, "primary")
        used, resets_at = jsonlines.number(window, "usedPercent"), jsonlines.number(window, "resetsAt")
        return [notice("rate_limit", limit=self._limit, used_percent=used, resets_at=resets_at)]


def rerouted(params: JsonObject) -> list[Emit]:
    """Another model than the chosen one answers."""
    names = {"from_model": jsonlines.text(params, "fromModel"), "to_model": jsonlines.text(params, "toModel")}
    return [notice("model_rerouted", reason=jsonlines.text(params, "reason"), **names)]


def server_status(params: JsonObject) -> list[Emit]:
    """An MCP server has failed to come up; that one has is no news."""
    if jsonlines.text(params, "status") != "failed":
        return []
    error = jsonlines.cut(jsonlines.text(params, "error"), MAX_MESSAGE_CHARS)
    return [notice("mcp_server_failed", server=jsonlines.text(params, "name"), message=error)]


def retrying(error: JsonObject, attempt: int) -> Emit:
    """The model's API failed and is tried again, `attempt` times by our own count."""
    found = _RECONNECTING.search(jsonlines.text(error, "message"))
    told: JsonObject = {"attempt": int(found[1]), "max_attempts": int(found[2])} if found else {"attempt": attempt}
    text = jsonlines.text(error, "additionalDetails") or jsonlines.text(error, "message")
    more = jsonlines.present(status=_status(error), error=jsonlines.cut(text, MAX_MESSAGE_CHARS))
    return Emit(EventType.RETRYING, {**told, **more})


def failed(error: JsonObject) -> Emit:
    """Something went wrong for good."""
    more = jsonlines.present(code=_code(error) or "error", status=_status(error))
    return Emit(EventType.ERROR, {"message": message_of(error), **more})


def message_of(error: JsonObject) -> str:
    """What an error says, in Codex's words."""
    text = jsonlines.text(error, "message") or "Codex did not say what went wrong."
    return jsonlines.cut(text, MAX_MESSAGE_CHARS)


def _code(error: JsonObject) -> str:
    """`usageLimitExceeded`, `httpConnectionFailed`, …"""
    info = error.get("codexErrorInfo")
    if isinstance(info, dict):
        info = next(iter(info), "")
    return jsonlines.cut(info, 80) if isinstance(info, str) else ""


def _status(error: JsonObject) -> int | None:
    info = error.get("codexErrorInfo")
    facts = next(iter(info.values()), None) if isinstance(info, dict) else None
    status = jsonlines.number(facts, "httpStatusCode") if isinstance(facts, dict) else None
    return None if status is None else jsonlines.count({"status": status}, "status")
