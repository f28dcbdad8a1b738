"""What a request to the scripted model must hold: the results of its tools, and what was said before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.fakes.model_script import Said, prompts

_INTERRUPTED = "[Request interrupted"
_SUMMARY = "CRITICAL: Respond with TEXT ONLY"
"""How Claude Code begins when it asks for a summary; the reply stands in for the conversation, not in it."""


@dataclass(slots=True)
class _Sent:
    """A reply that went out whole. Once `binding`, every later request of its conversation must hold it."""

    pieces: Sequence[str]
    binding: bool


class Ledger:
    """Remembers each finished reply and finds fault with a later request of that conversation without it."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], list[_Sent]] = {}

    def finished(self, session: str, items: Sequence[Said], pieces: Sequence[str], *, calls: bool) -> None:
        """The reply to this request went out whole; `pieces` are its texts and tool call ids.

        One that calls tools binds once a request has come back with it: an agent that dies before the
        tool has run is right to forget the call.
        """
        if not _last_prompt(items).startswith(_SUMMARY):
            kept = [piece for piece in pieces if piece]
            self._sent.setdefault(_key(session, items), []).append(_Sent(kept, binding=not calls))

    def forget(self, session: str) -> None:
        """The agent has shortened its memory of this session's conversations: it may lack what was said before."""
        for key in [key for key in self._sent if key[0] == session]:
            del self._sent[key]

    def fault(self, session: str, items: Sequence[Said]) -> str | None:
        """What this request lacks, or None."""
        return _unanswered(items) or self._forgotten(session, items)

    def _forgotten(self, session: str, items: Sequence[Said]) -> str | None:
        calls = {item.ref for item in items if item.kind == "tool_use"}
        texts = "\n".join(item.text for item in items if item.role == "assistant")
        lost = []
        for sent in self._sent.get(_key(session, items), []):
            if all(piece in calls or piece.strip() in texts for piece in sent.pieces):
                sent.binding = True
            elif sent.binding:
                lost.append(sent.pieces)
        # A reply may have left here whole and met an interrupt on its way: the agent drops it and says so.
        interrupts = sum(item.role == "user" and item.text.startswith(_INTERRUPTED) for item in items)
        return f"an earlier reply is missing: {lost[0]!r:.120}" if len(lost) > interrupts else None


def _key(session: str, items: Sequence[Said]) -> tuple[str, str]:
    """Which conversation a request belongs to.

    The session alone will not do: a subagent, and the conversation after a summary, come under the same
    session, but begin with another prompt.
    """
    places = prompts(items)
    return session, items[places[0]].text if places else ""


def _last_prompt(items: Sequence[Said]) -> str:
    places = prompts(items)
    return items[places[-1]].text if places else ""


def _unanswered(items: Sequence[Said]) -> str | None:
    called = [item.ref for item in items if item.kind == "tool_use"]
    answered = {item.ref for item in items if item.kind == "tool_result"}
    missing = [ref for ref in called if ref not in answered]
    return f"tool_use without a tool_result: {missing}" if missing else None
