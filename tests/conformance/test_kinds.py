"""What every workspace kind must do, run over each entry of the registry."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from shared.domain.errors import InvalidField, UnknownWorkspaceKind
from shared.domain.ids import mint_session
from shared.workspaces.registry import KINDS, find
from shared.workspaces.volume import open_volume

# What each kind is asked for here: the least a caller may write. None: the URL of a server of the test.
LEAST = {"folder": {}, "git": {"url": None}}


@pytest.fixture(scope="module")
def orchard(git_server):
    """The URL of a small repository."""
    git_server.make("orchard", {"plum.txt": "ripe\n"})
    return git_server.url("orchard")


@pytest.fixture
def volume(tmp_path, git_server):
    return replace(open_volume(tmp_path / "volume"), git=git_server.rules())


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return find(request.param)


@pytest.fixture
def least(kind, orchard):
    return {key: orchard if value is None else value for key, value in LEAST[kind.name].items()}


@pytest.fixture
def spec(kind, least):
    return kind.check(dict(least), ())


def test_every_kind_is_found_by_its_name(kind):
    assert find(kind.name) is kind
    assert KINDS[kind.name] is kind


def test_an_unknown_kind_is_refused_with_a_list_of_the_known():
    with pytest.raises(UnknownWorkspaceKind) as refused:
        find("floppy")

    assert refused.value.code == "unknown_workspace_kind"
    assert refused.value.facts["known"] == ", ".join(sorted(KINDS))


def test_a_checked_spec_names_its_kind_survives_json_and_is_checked_again_unchanged(kind, spec):
    assert spec["kind"] == kind.name
    assert kind.check(json.loads(json.dumps(spec)), ()) == spec


def test_a_key_nobody_knows_is_refused_by_name(kind, least):
    with pytest.raises(InvalidField) as refused:
        kind.check({**least, "colour": "red"}, ())

    assert refused.value.facts["field"] == "workspace.colour"


def test_an_opened_place_can_be_worked_in_and_its_home_is_private(kind, spec, volume):
    place = kind.open(mint_session(), spec, volume)

    (place.root / "made").write_text("by the agent")
    (place.home / "state").write_text("of the agent")

    assert place.root.is_absolute()
    assert place.root == place.root.resolve()
    assert place.home.stat().st_mode & 0o777 == 0o700
    assert not place.home.is_relative_to(place.root)
    assert not place.root.is_relative_to(place.home)


def test_opening_again_finds_what_was_there(kind, spec, volume):
    session = mint_session()
    first = kind.open(session, spec, volume)
    (first.root / "made").write_text("before")
    (first.home / "state").write_text("kept")

    again = kind.open(session, spec, volume)

    assert again == first
    assert (again.root / "made").read_text() == "before"
    assert (again.home / "state").read_text() == "kept"


def test_looking_for_a_workspace_makes_none(kind, spec, volume):
    session = mint_session()
    before = kind.find(session, spec, volume)
    untouched = os.listdir(volume.root / "sessions") if (volume.root / "sessions").exists() else []  # noqa: PTH208
    opened = kind.open(session, spec, volume)
    found = kind.find(session, spec, volume)
    kind.remove(session, spec, volume)

    assert (before, untouched) == (None, [])
    assert found == opened
    assert kind.find(session, spec, volume) is None
    assert not opened.home.exists()


def test_two_sessions_share_neither_home_nor_managed_workspace(kind, spec, volume):
    one, other = (kind.open(mint_session(), spec, volume) for _ in range(2))

    assert one.home != other.home
    assert not one.managed or one.root != other.root


def test_removing_leaves_nothing_of_the_session_and_all_of_the_others(kind, spec, volume):
    session, other = mint_session(), mint_session()
    place, neighbour = kind.open(session, spec, volume), kind.open(other, spec, volume)
    (place.root / "folder").mkdir()
    (place.root / "folder/file").write_text("x")
    (neighbour.root / "file").write_text("theirs")

    kind.remove(session, spec, volume)
    kind.remove(session, spec, volume)

    assert not place.root.exists()
    assert not place.home.exists()
    assert not [name for name in os.listdir(volume.root / "sessions") if session in name]  # noqa: PTH208
    assert (neighbour.root / "file").read_text() == "theirs"


def test_a_fork_begins_with_the_files_as_they_are_and_leaves_them(kind, spec, volume):
    session, other = mint_session(), mint_session()
    place = kind.open(session, spec, volume)
    (place.root / "made").write_text("before")

    forked = json.loads(json.dumps(kind.fork(spec, session)))
    copy = kind.open(other, forked, volume)
    (copy.root / "made").write_text("after")
    again = kind.open(other, forked, volume)

    assert kind.find(other, forked, volume) == again == copy
    assert (place.root / "made").read_text() == "before"
    assert (again.root / "made").read_text() == "after"


@pytest.mark.parametrize("session", ["../../etc", "ses_", "ses_../x", "", "trn_0000000000000000000000000"])
def test_what_is_no_session_id_never_becomes_a_path(kind, spec, volume, session):
    with pytest.raises(InvalidField):
        kind.open(session, spec, volume)
    with pytest.raises(InvalidField):
        kind.find(session, spec, volume)
    with pytest.raises(InvalidField):
        kind.remove(session, spec, volume)
