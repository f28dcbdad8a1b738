"""What a report does to its session: facts become events, turns and states. Under the head's lock."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

from shared.domain.event import Draft, EventType
from shared.domain.external import MAX_OPEN_CALLS, ExternalSession, OpenCall, Reporter
from shared.domain.ids import AskId, TurnId, mint_turn
from shared.domain.json import JsonObject
from shared.domain.report import Called, Fact, Left, Noticed, Prompted, Returned, Started, Stopped, Wanted
from shared.domain.session import EndReason, SessionStatus
from shared.domain.turn import Ending, Turn, TurnStatus
from shared.operations import approvals
from shared.operations.endings import end_under_lock
from shared.operations.external import started
from shared.operations.transaction import Act
from shared.store import asks, heads, sessions, turns
from shared.store.heads import Head

SOURCE = "hook"
MAX_TEXT = 256 * 1024
"""Characters of a prompt or result that a turn's row keeps; the log has all of them."""
_NO_RESULT = "No result was reported: the call was denied or interrupted."


def digest_of(input: JsonObject) -> str:
    """Equal for equal inputs of tools."""
    return hashlib.sha256(json.dumps(input, sort_keys=True).encode()).hexdigest()[:16]


def call_of(external: ExternalSession, wanted: Wanted) -> str | None:
    """The call that a permission is wanted for: the last one without a result with this tool and input."""
    wish = OpenCall(wanted.name, digest_of(wanted.input))
    return next((ref for ref, call in reversed(list(external.open_calls.items())) if call == wish), None)


@dataclass(slots=True)
class Telling:
    """One report on its way into the log of one session."""

    act: Act
    reporter: Reporter
    head: Head
    external: ExternalSession
    wait_s: float = 0.0
    """How long the agent waits for the reply."""
    turn: TurnId | None = None
    """The turn under way, if any."""
    drafts: list[Draft] = field(default_factory=list)
    ask: AskId | None = None
    """What the report opened; its answer is the report's."""

    def tell(self, fact: Fact) -> None:
        """Take one fact, and append what it tells."""
        line = turns.open_line(self.act.connection, self.head.session)
        self.turn = line[0][0] if line else None
        if self.head.status is SessionStatus.STARTING and not isinstance(fact, Started):
            self._up({})
        if isinstance(fact, Left):
            self._close()
        else:
            self._take(fact)
        self.act.report(self.head.session, self.drafts)
        if isinstance(fact, Left):
            # Behind all else, for it appends the last event of the log.
            self.act.events += end_under_lock(self.act.connection, self.head.session, EndReason.AGENT_LEFT, fact.detail)

    def _take(self, fact: Started | Prompted | Called | Returned | Wanted | Noticed | Stopped) -> None:
        match fact:
            case Started():
                self._started(fact)
            case Prompted():
                self._prompted(fact)
            case Called():
                self._called(fact)
            case Returned():
                self._returned(fact)
            case Wanted():
                self._wanted(fact)
            case Noticed():
                self._say(EventType.NOTICE, fact.data)
            case Stopped():
                self._stopped(fact)

    # --- the agent

    def _started(self, fact: Started) -> None:
        if self.head.status is SessionStatus.STARTING:
            self._up(fact.data)
        else:
            self._say(EventType.NOTICE, {"kind": "conversation_goes_on", **fact.data})

    def _up(self, told: JsonObject) -> None:
        self.drafts.append(started(self.reporter, told))
        heads.set_status(self.act.connection, self.head.session, SessionStatus.IDLE)

    # --- turns

    def _prompted(self, fact: Prompted) -> None:
        # Claude Code tells of no turn that its user interrupts: the next prompt shows that it is over.
        self._close()
        self._end(Ending(TurnStatus.INTERRUPTED, "superseded"))
        self.turn = mint_turn()
        self._say(EventType.TURN_QUEUED, {"text": fact.text, "source": SOURCE})
        self._say(EventType.TURN_STARTED, {"attempt": 1})
        connection, session = self.act.connection, self.head.session
        turn = Turn(
            id=self.turn,
            session=session,
            position=turns.next_position(connection, session),
            status=TurnStatus.RUNNING,
            text=fact.text[:MAX_TEXT],
            source=SOURCE,
            callback_url=None,
            attempt=1,
            created_at=self.act.at,
            started_at=self.act.at,
            ended_at=None,
            stop_reason=None,
            result_text=None,
            error=None,
            usage=None,
            cost_usd=None,
        )
        turns.create(connection, turn, self.act.caller.tenant)
        sessions.add_usage(connection, session, turns=1)
        heads.set_status(connection, session, SessionStatus.RUNNING)

    def _stopped(self, fact: Stopped) -> None:
        self._close()
        if fact.text:
            # Every report finds another last_seq, so no two messages of a session have the same id.
            message_id = f"msg_{self.head.last_seq}"
            self._say(EventType.MESSAGE, {"text": fact.text, "message_id": message_id})
        text = None if fact.text is None else fact.text[:MAX_TEXT]
        if self._end(Ending(fact.status, fact.stop_reason, result_text=text, error=fact.error)):
            self._say(EventType.SESSION_IDLE, {})
            heads.set_status(self.act.connection, self.head.session, SessionStatus.IDLE)

    def _end(self, ending: Ending) -> bool:
        """Give the turn under way its end; False where none is."""
        if self.turn is None:
            return False
        self._say(EventType.TURN_ENDED, ending.data())
        turns.end(self.act.connection, self.turn, ending, self.act.at)
        self.turn = None
        return True

    def _close(self) -> None:
        """Whatever of the turn under way is still open has no end of its own to wait for."""
        open_asks = asks.unresolved_of(self.act.connection, self.head.session)
        self.drafts += approvals.lose(self.act, open_asks, "withdrawn")
        for ref, call in self.external.open_calls.items():
            self._result(ref, call.name, _NO_RESULT, is_error=True)
        self.external = replace(self.external, open_calls={})

    # --- tools

    def _called(self, fact: Called) -> None:
        self._say(EventType.TOOL_CALL, {"tool_call_id": fact.tool_call_id, "name": fact.name, "input": fact.input})
        calls = dict(self.external.open_calls)
        if fact.tool_call_id and len(calls) < MAX_OPEN_CALLS:
            calls[fact.tool_call_id] = OpenCall(fact.name, digest_of(fact.input))
            self.external = replace(self.external, open_calls=calls)

    def _returned(self, fact: Returned) -> None:
        call = fact.call
        calls = dict(self.external.open_calls)
        if calls.pop(call.tool_call_id, None) is None:
            # Its call was not reported, as where only this hook is installed: the log has the pair all the same.
            told: JsonObject = {"tool_call_id": call.tool_call_id, "name": call.name, "input": call.input}
            self._say(EventType.TOOL_CALL, told)
        self.external = replace(self.external, open_calls=calls)
        about = [
            ask
            for ask in asks.unresolved_of(self.act.connection, self.head.session)
            if ask.ref and ask.ref == call.tool_call_id
        ]
        # It ran, so somebody said yes where the agent runs.
        self.drafts += approvals.lose(self.act, about, "decided_elsewhere")
        more: JsonObject = {} if fact.duration_s is None else {"duration_s": fact.duration_s}
        self._result(call.tool_call_id, call.name, fact.output, is_error=fact.is_error, **more)

    def _wanted(self, fact: Wanted) -> None:
        call = call_of(self.external, fact)
        if not self.reporter.remote_approval or self.wait_s <= 0:
            told: JsonObject = {"kind": "waits_for_user", "tool_name": fact.name}
            self._say(EventType.NOTICE, told if call is None else {**told, "tool_call_id": call})
            return
        # Over a moment before the agent stops waiting, so that no answer is accepted that it does not hear.
        about = approvals.Approval(fact, self.turn, call, self.wait_s - min(1.0, self.wait_s / 4))
        ask, draft = approvals.open_ask(self.act, self.head.session, about)
        self.ask = ask.id
        self.drafts.append(draft)

    # --- events

    def _result(self, ref: str, name: str, output: str, *, is_error: bool, **more: object) -> None:
        data: JsonObject = {"tool_call_id": ref, "name": name, "output": output, "is_error": is_error}
        self._say(EventType.TOOL_RESULT, {**data, **more})  # type: ignore[dict-item]

    def _say(self, type: EventType, data: JsonObject) -> None:
        self.drafts.append(Draft(type, data, self.turn))
