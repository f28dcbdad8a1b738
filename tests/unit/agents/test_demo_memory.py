"""What the demo agent remembers survives a restart, and a write that was cut off."""

from __future__ import annotations

import pytest

from cli.demo.memory import Memory, is_session_id


def _started(folder, *prompts):
    memory = Memory(folder, "demo-1")
    memory.start()
    for prompt in prompts:
        memory.add({"type": "user", "text": prompt})
    return memory


def _resumed(folder, session_id="demo-1"):
    memory = Memory(folder, session_id)
    memory.resume()
    return memory


def test_a_resumed_conversation_knows_its_prompts_in_order(tmp_path):
    _started(tmp_path / "a folder to be made", "first", "zweitens — ü")

    assert _resumed(tmp_path / "a folder to be made").prompts == ["first", "zweitens — ü"]


def test_an_unknown_conversation_is_not_resumed_and_leaves_no_file(tmp_path):
    assert not _resumed(tmp_path, "demo-2").resumed
    assert not list(tmp_path.iterdir())


def test_half_a_line_is_passed_over_and_the_next_entry_is_whole(tmp_path):
    _started(tmp_path, "first")
    with (tmp_path / "demo-1.jsonl").open("a") as file:
        file.write('{"type": "user", "te')

    _resumed(tmp_path).add({"type": "user", "text": "second"})

    assert _resumed(tmp_path).prompts == ["first", "second"]


def test_a_new_conversation_of_the_same_name_begins_empty(tmp_path):
    _started(tmp_path, "first")

    _started(tmp_path)

    assert not _resumed(tmp_path).resumed


@pytest.mark.parametrize("text", ["", "../../etc/passwd", "a/b", "a.b", "x" * 129, "a\n"])
def test_what_could_lead_to_another_file_is_no_session_id(text, tmp_path):
    assert not is_session_id(text)
    assert not _resumed(tmp_path, text).resumed
