"""What a host tells of a session and its turns: each event with the change of facts it stands for.

Pure: a `Fact` is handed to the journal, which commits both together or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.agents.driver import Ready
from shared.domain.ask import Ask, AskKind, AskStatus
from shared.domain.clock import to_text
from shared.domain.event import Draft, EventType
from shared.domain.ids import AskId, SessionId, TenantId, TurnId
from shared.domain.json import JsonObject
from shared.domain.session import EndReason, Limits, Mode, SessionStatus
from shared.domain.turn import Ending, Turn, TurnStatus
from shared.events.owner import Effect
from shared.store import asks, heads, ownership, sessions, transcripts, turns
from shared.store.database import Connection
from workers.host.commits import Vetoed

ASK_EVENTS = {
    AskKind.PERMISSION: EventType.PERMISSION_REQUEST,
    AskKind.QUESTION: EventType.QUESTION,
    AskKind.PLAN: EventType.PLAN_PROPOSED,
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Events and effects that belong together."""

    drafts: Sequence[Draft] = ()
    effects: Sequence[Effect] = ()

    def __add__(self, other: Fact) -> Fact:
        return Fact((*self.drafts, *other.drafts), (*self.effects, *other.effects))


def inputs_done(session: SessionId, n: int) -> Effect:
    """Inputs up to `n` have been taken into account."""
    return lambda connection: heads.set_done_input(connection, session, n)


def status_is(session: SessionId, status: SessionStatus) -> Effect:
    """The session is in `status`."""

    def effect(connection: Connection) -> None:
        heads.set_status(connection, session, status)

    return effect


# --- the agent's process --------------------------------------------------------------------------------------


def agent_is_up(session: SessionId, agent: str, ready: Ready, *, resumed: bool) -> Fact:
    """The agent takes prompts; its own name for the conversation is kept for a resume."""
    data: JsonObject = {
        "agent": agent,
        "model": ready.model,
        "version": ready.version,
        "agent_session_id": ready.agent_session_id,
        "resumed": resumed,
    }
    return Fact((Draft(EventType.SESSION_STARTED, data),), (_agent_session(session, ready.agent_session_id),))


def agent_session_is(session: SessionId, agent_session_id: str | None) -> Fact:
    """The agent goes by another name from now on."""
    return Fact((), (_agent_session(session, agent_session_id),))


def _agent_session(session: SessionId, agent_session_id: str | None) -> Effect:
    return lambda connection: sessions.set_agent_session(connection, session, agent_session_id)


def transcript_grew(session: SessionId, agent_session_id: str, entries: Sequence[str]) -> Fact:
    """The agent's own transcript has these further entries."""
    return Fact((), (lambda connection: transcripts.append(connection, session, agent_session_id, entries),))


def mode_is(session: SessionId, mode: Mode, before: Mode) -> Fact:
    """The agent acts in `mode` now."""
    drafts = [Draft(EventType.MODE_CHANGED, {"mode": mode.value})]
    if Mode.PLAN in {mode, before}:
        drafts.append(Draft(EventType.PLAN_MODE_CHANGE, {"in_plan_mode": mode is Mode.PLAN}))

    def effect(connection: Connection) -> None:
        sessions.patch(connection, session, mode=mode)

    return Fact(drafts, (effect,))


def limits_are(session: SessionId, limits: Limits) -> Effect:
    """The session has these bounds now."""

    def effect(connection: Connection) -> None:
        sessions.patch(connection, session, limits=limits)

    return effect


def notice(kind: str, message: str) -> Draft:
    """Something worth telling that changes no state."""
    return Draft(EventType.NOTICE, {"kind": kind, "message": message})


# --- turns ----------------------------------------------------------------------------------------------------


def turn_starts(turn: Turn, at: datetime) -> Fact:
    """The turn is on its way to the agent. Vetoed where it was withdrawn in the meantime."""

    def effect(connection: Connection) -> None:
        if not turns.start(connection, turn.id, at):
            raise Vetoed
        heads.set_status(connection, turn.session, SessionStatus.RUNNING)
        # One that stops at a checkpoint counts when its prompt is sent.
        if turn.attempt == 1 and not turn.confirm:
            sessions.add_usage(connection, turn.session, turns=1)

    return Fact((Draft(EventType.TURN_STARTED, {"attempt": turn.attempt}, turn.id),), (effect,))


def turn_is_let_go(turn: Turn) -> Fact:
    """A turn that was held at its checkpoint runs now."""

    def effect(connection: Connection) -> None:
        turns.go_on(connection, turn.id)
        heads.set_status(connection, turn.session, SessionStatus.RUNNING)

    return Fact((), (effect,))


def turn_counts(turn: Turn) -> Fact:
    """The turn is one of the session's, which it was not while it was held."""
    return Fact((), (lambda connection: sessions.add_usage(connection, turn.session, turns=1),))


def turn_ends(turn: Turn, ending: Ending, at: datetime, *, duration_s: float | None = None) -> Fact:
    """The turn's one terminal event. Vetoed where it has ended already."""
    data = ending.data()
    if duration_s is not None:
        data["duration_s"] = round(duration_s, 3)

    def effect(connection: Connection) -> None:
        if not turns.end(connection, turn.id, ending, at):
            raise Vetoed

    return Fact((Draft(EventType.TURN_ENDED, data, turn.id),), (effect,))


def turn_is_steered(turn: Turn, into: TurnId | None, at: datetime) -> Fact:
    """The turn's text went into the one that runs. Vetoed where it has ended already."""
    ending = Ending(TurnStatus.COMPLETED, "steered")

    def effect(connection: Connection) -> None:
        if not turns.end(connection, turn.id, ending, at):
            raise Vetoed

    return Fact((Draft(EventType.TURN_ENDED, {**ending.data(), "steered_into": into}, turn.id),), (effect,))


def turn_repeats(turn: Turn, reason: str) -> Fact:
    """The turn goes back into the line as its next attempt."""
    data: JsonObject = {"kind": "turn_repeated", "reason": reason, "attempt": turn.attempt + 1}

    def effect(connection: Connection) -> None:
        turns.requeue(connection, turn.id)

    return Fact((Draft(EventType.NOTICE, data, turn.id),), (effect,))


# --- asks -----------------------------------------------------------------------------------------------------


def ask_opens(ask: Ask, tenant: TenantId) -> Fact:
    """The agent waits for a human, and with it turn and session."""
    data: JsonObject = {"ask_id": ask.id, **ask.data}
    if ask.expires_at is not None:
        data["expires_at"] = to_text(ask.expires_at)

    def effect(connection: Connection) -> None:
        asks.create(connection, ask, tenant)
        if ask.turn is not None:
            turns.wait(connection, ask.turn)
        heads.set_status(connection, ask.session, SessionStatus.WAITING)

    return Fact((Draft(ASK_EVENTS[ask.kind], data, ask.turn),), (effect,))


def ask_applies(ask: AskId, kind: AskKind, turn: TurnId | None, at: datetime) -> Fact:
    """The answer has reached the agent."""

    def effect(connection: Connection) -> None:
        asks.apply(connection, ask, at)

    return Fact((_resolved(ask, kind, turn, AskStatus.APPLIED),), (effect,))


def ask_expires(ask: AskId, kind: AskKind, turn: TurnId | None, at: datetime) -> Fact:
    """Nobody answered in time: the agent is told no. Vetoed where somebody just did."""

    def effect(connection: Connection) -> None:
        if not asks.expire(connection, ask, at):
            raise Vetoed

    return Fact((_resolved(ask, kind, turn, AskStatus.EXPIRED, "expired"),), (effect,))


def ask_is_lost(ask: AskId, kind: AskKind, turn: TurnId | None, at: datetime, reason: str) -> Fact:
    """No answer will ever reach the agent."""

    def effect(connection: Connection) -> None:
        asks.lose(connection, ask, at)

    return Fact((_resolved(ask, kind, turn, AskStatus.LOST, reason),), (effect,))


def goes_on(session: SessionId, turn: TurnId | None) -> Fact:
    """Nobody waits for a human any more."""

    def effect(connection: Connection) -> None:
        if turn is None:
            heads.set_status(connection, session, SessionStatus.IDLE)
        else:
            turns.go_on(connection, turn)
            heads.set_status(connection, session, SessionStatus.RUNNING)

    return Fact((), (effect,))


def _resolved(ask: AskId, kind: AskKind, turn: TurnId | None, status: AskStatus, reason: str | None = None) -> Draft:
    data: JsonObject = {"ask_id": ask, "kind": kind.value, "status": status.value}
    if reason is not None:
        data["reason"] = reason
    return Draft(EventType.ASK_RESOLVED, data, turn)


# --- the session ----------------------------------------------------------------------------------------------


def session_idles(session: SessionId) -> Fact:
    """No turn runs or waits."""
    return Fact((Draft(EventType.SESSION_IDLE, {}),), (status_is(session, SessionStatus.IDLE),))


def session_parks(session: SessionId, epoch: int, reason: str) -> Fact:
    """The session is given up, its slot free. Vetoed where something waits to be done."""

    def effect(connection: Connection) -> None:
        if turns.open_turns(connection, session):
            raise Vetoed
        if not ownership.release(connection, session, epoch, SessionStatus.PARKED):
            raise Vetoed

    return Fact((Draft(EventType.SESSION_PARKED, {"reason": reason}),), (effect,))


def session_is_handed_over(session: SessionId, epoch: int, status: SessionStatus, at: datetime) -> Effect:
    """The session is given up, for another host where something waits to be done."""

    def effect(connection: Connection) -> None:
        is_done = not turns.open_turns(connection, session)
        if not (is_done and ownership.release(connection, session, epoch, status)):
            ownership.hand_over(connection, session, epoch, status, at)

    return effect


def session_ends(
    session: SessionId, reason: EndReason, detail: str | None, left: Sequence[Turn], ending: Ending, at: datetime
) -> Fact:
    """The session's last event, behind a terminal one for each turn `left`. Vetoed where other turns are open."""
    drafts = [Draft(EventType.TURN_ENDED, ending.data(), turn.id) for turn in left]
    drafts.append(Draft(EventType.SESSION_ENDED, {"reason": reason.value, "detail": detail}))
    expected = {turn.id for turn in left}

    def effect(connection: Connection) -> None:
        if {turn.id for turn in turns.open_turns(connection, session)} != expected:
            raise Vetoed
        for turn in left:
            turns.end(connection, turn.id, ending, at)
        heads.end(connection, session, reason, detail, at)

    return Fact(drafts, (effect,))
