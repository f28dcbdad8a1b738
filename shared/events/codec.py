"""Turns drafts into stored text: rendering, and setting aside what is too large for a line of the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.domain.event import MAX_DATA_BYTES, Draft, Event, render, storable
from shared.domain.ids import BlobId, SessionId, mint
from shared.domain.json import JsonObject, JsonValue

PREVIEW_CHARACTERS: Final = 4096
"""How much of a large text stays in the event itself."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A large value kept beside the log."""

    id: BlobId
    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A draft whose data is text already; all that is missing is its number."""

    draft: Draft
    data: str
    asides: tuple[Aside, ...] = ()

    @property
    def size(self) -> int:
        """Bytes this will add to a commit, roughly."""
        return len(self.data) + sum(len(aside.content) for aside in self.asides)


def prepare(session: SessionId, draft: Draft) -> Prepared:
    """Render a draft; fields that make it larger than 64 KiB are cut to a preview and linked.

    The event then holds `truncated: {<field>: {blob_id, size, url}}` beside the previews.
    """
    data = render(draft.data)
    # A character is at most four bytes: most events need not be encoded to know that they are small.
    if len(data) * 4 <= MAX_DATA_BYTES or len(data.encode()) <= MAX_DATA_BYTES:
        return Prepared(draft, data)
    return _set_aside(session, draft)


def _set_aside(session: SessionId, draft: Draft) -> Prepared:
    fields: JsonObject = dict(draft.data)
    asides: list[Aside] = []
    links: dict[str, JsonValue] = {}
    largest_first = sorted(fields, key=lambda name: len(render({name: fields[name]})), reverse=True)
    for name in largest_first:
        if len(render(fields).encode()) <= MAX_DATA_BYTES - 1024:
            break
        aside, preview = _cut(fields[name])
        fields[name] = preview
        asides.append(aside)
        links[name] = {
            "blob_id": aside.id,
            "size": len(aside.content),
            "media_type": aside.media_type,
            "url": f"/v1/sessions/{session}/blobs/{aside.id}",
        }
    fields["truncated"] = links
    return Prepared(draft, render(fields), tuple(asides))


def _cut(value: JsonValue) -> tuple[Aside, str]:
    if isinstance(value, str):
        text, media_type = storable(value), "text/plain; charset=utf-8"
    else:
        text, media_type = render({"value": value})[len('{"value":') : -1], "application/json"
    return Aside(BlobId(mint("blb")), text.encode(), media_type), text[:PREVIEW_CHARACTERS]


def number(session: SessionId, prepared: Prepared, seq: int, created_at: str) -> Event:
    """The event this becomes as number `seq`."""
    return Event(session, seq, prepared.draft.type, prepared.draft.turn, created_at, prepared.data)
