"""Blobs and transcripts: bytes and lines come back as they were given."""

from __future__ import annotations

import pytest

from shared.domain.ids import BlobId
from shared.store import blobs, transcripts
from tests.fixtures.store_rows import ACME, OTHER, T0, add_session

ID = BlobId("blb_1")


def keep(c, session, content=b"\x00\xff" * 3, media_type="application/octet-stream"):
    blobs.create(c, id=ID, session=session, media_type=media_type, content=content, at=T0)


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", bytes(range(256)) * 4096])
def test_a_blob_comes_back_byte_for_byte(db, content):
    with db.write() as c:
        session = add_session(c)
        keep(c, session, content)

        assert blobs.read(c, ACME, session, ID) == ("application/octet-stream", content)


def test_a_blob_is_its_sessions_and_its_tenants_only(db):
    with db.write() as c:
        session = add_session(c)
        keep(c, session)

        assert blobs.read(c, OTHER, session, ID) is None
        assert blobs.read(c, ACME, add_session(c), ID) is None
        assert blobs.read(c, ACME, session, BlobId("blb_none")) is None


def test_keeping_a_blob_again_after_a_commit_of_unknown_outcome_changes_nothing(db):
    with db.write() as c:
        session = add_session(c)
        keep(c, session, b"first")
        keep(c, session, b"first")

        assert blobs.read(c, ACME, session, ID) == ("application/octet-stream", b"first")


def test_transcript_entries_come_back_in_order_per_conversation(db):
    with db.write() as c:
        session, other = add_session(c), add_session(c)
        transcripts.append(c, session, "conv-1", ['{"n":1}', '{"n":2}\n'])
        transcripts.append(c, session, "conv-2", ['{"x":1}'])
        transcripts.append(c, other, "conv-1", ['{"other":1}'])
        transcripts.append(c, session, "conv-1", [])
        transcripts.append(c, session, "conv-1", ['{"n":3}'])

        assert transcripts.read(c, session, "conv-1") == ['{"n":1}', '{"n":2}', '{"n":3}']
        assert transcripts.read(c, session, "conv-2") == ['{"x":1}']
        assert transcripts.read(c, session, "conv-3") == []


def test_only_a_line_feed_parts_entries(db):
    odd = ['"a\u2028b\u0085c\rd\x0b"', "", '"é 🐎"']
    with db.write() as c:
        session = add_session(c)
        transcripts.append(c, session, "conv", odd)

        assert transcripts.read(c, session, "conv") == odd


def test_an_entry_of_two_lines_is_refused(db):
    with db.write() as c:
        session = add_session(c)

        with pytest.raises(ValueError, match="one line"):
            transcripts.append(c, session, "conv", ['{"a":\n1}'])
        assert transcripts.read(c, session, "conv") == []


def test_what_text_cannot_hold_is_spelled_as_json_spells_it(db):
    with db.write() as c:
        session = add_session(c)
        transcripts.append(c, session, "conv", ['"\x00\ud800"'])

        assert transcripts.read(c, session, "conv") == ['"\\u0000\\ud800"']
