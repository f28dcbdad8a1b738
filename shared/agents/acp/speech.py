"""What the agent says: chunks of messages and thoughts as events.

ACP tells the chunks alone. A message is whole when something else comes; it is told then, once more, as one.
"""

from __future__ import annotations

from shared.agents import jsonlines
from shared.agents.driver import Emit
from shared.domain.event import EventType
from shared.domain.json import JsonObject

MAX_MESSAGE_CHARS = 1024 * 1024
"""A longer message is told in several: what is kept of it has a bound."""
MAX_IDS = 64


class Speech:
    """The text that is being said."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._runs = 0
        self._id = ""
        self._said: list[str] = []
        self._chars = 0
        self._message_id = ""
        self._uses: dict[str, int] = {}
        self.last = ""
        """The last whole message; what a turn ends with."""

    def begin(self, turn: str) -> list[Emit]:
        """A turn begins. Ends what was said without one."""
        ended = self.ended()
        self._name, self._runs, self.last = turn, 0, ""
        return ended

    def chunk(self, update: JsonObject) -> list[Emit]:
        """A piece of a message."""
        text = told(jsonlines.obj(update, "content"))
        if not text:
            return []
        message_id = jsonlines.cut(jsonlines.text(update, "messageId"), 200)
        ended = self.ended() if message_id != self._id or self._chars >= MAX_MESSAGE_CHARS else []
        if not self._said:
            self._id, self._message_id = message_id, self._next(message_id)
        self._said.append(text)
        self._chars += len(text)
        return [*ended, Emit(EventType.MESSAGE_CHUNK, {"text": text, "message_id": self._message_id})]

    def thought(self, update: JsonObject) -> list[Emit]:
        """A piece of reasoning."""
        text = told(jsonlines.obj(update, "content"))
        if not text:
            return []
        named = jsonlines.present(message_id=jsonlines.text(update, "messageId"))
        return [*self.ended(), Emit(EventType.THINKING_CHUNK, {"text": text, **named})]

    def ended(self) -> list[Emit]:
        """The message that was being said, whole; nothing where none was."""
        if not self._said:
            return []
        self.last = "".join(self._said)
        self._said.clear()
        self._chars = 0
        return [Emit(EventType.MESSAGE, {"text": self.last, "message_id": self._message_id})]

    def _next(self, message_id: str) -> str:
        """A name of its own: readers add up the chunks of one, and an agent may go on under an id after a tool."""
        if not message_id:
            self._runs += 1
            return f"msg_{self._name}_{self._runs}"
        uses = self._uses.pop(message_id, 0) + 1
        self._uses[message_id] = uses
        if len(self._uses) > MAX_IDS:
            del self._uses[next(iter(self._uses))]
        return message_id if uses == 1 else f"{message_id}.{uses}"


def told(content: JsonObject) -> str:
    """A content block as text."""
    match jsonlines.text(content, "type"):
        case "text":
            return jsonlines.text(content, "text")
        case "resource_link":
            return f"[{jsonlines.text(content, 'name')}]({jsonlines.text(content, 'uri')})"
        case "resource":
            return jsonlines.text(jsonlines.obj(content, "resource"), "text")
        case "image" | "audio" as kind:
            # Its bytes are of no use in a log.
            return f"[{kind} {jsonlines.text(content, 'mimeType')}]"
    return ""
