"""A hostile agent behind the walls reaches nothing outside; without walls it does, so these tests can fail."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.ids import mint_session
from shared.workspaces.kind import NoWalls, SpawnSpec, Walls
from tests.fixtures.machine import ROOT
from tests.fixtures.walls import a_place, outside, standing
from workers.host.processes import Warden

ESCAPEE = str(ROOT / "tests/fakes/escapee.py")
ATTEMPTS = 51

NEVER = {
    # What the warden refuses every agent, walls or none.
    "use_the_workers_keys",
    "use_a_descriptor_that_was_left_open",
    "type_into_a_terminal",
    # Tried only where they can do no harm.
    "make_the_system_writable",
    "take_a_cover_off",
}
"""Attempts that fail without walls too, for root on any machine."""
MAYBE = {
    "read_private_keys", "read_the_kernels_log", "read_the_kernels_memory", "look_at_devices_in_sys", "find_a_disk",
    "load_a_module", "load_a_program_into_the_kernel", "leave_a_core_dump", "make_a_user_namespace", "mount_something",
    "pull_the_trigger_of_sysrq", "raise_a_limit", "look_through_the_root_of_process_one", "open_a_file_by_its_handle",
    "make_a_device", "say_what_a_core_dump_runs", "turn_a_knob_of_the_kernel", "trace_the_worker", "change_its_root",
    "keep_a_capability", "raise_its_priority", "become_another_user", "write_to_etc", "write_to_the_system",
    "read_the_password_hashes",
}  # fmt: skip
"""Attempts that need a root with everything (containers take some of it away), or something a machine may lack."""
UNSEEN = {
    # Landlock hides no process, bounds no namespace, and leaves System V memory and sockets with a path alone.
    "see_other_processes", "attach_to_shared_memory", "reach_a_socket_in_a_folder", "make_a_user_namespace",
}  # fmt: skip
"""What Landlock does not claim to stop: docs/security.md says so."""


def attempts(walls: Walls, folder: Any, *, is_walled: bool) -> dict[str, dict[str, Any]]:
    """What became of each attempt of an agent behind `walls`, started by a warden as every agent is."""
    volume = folder / "volume"
    session = mint_session()
    place = a_place(volume, session)
    with outside(folder, volume) as there:
        words = json.dumps({**there, "walled": is_walled})
        env = {"PATH": os.defpath, "HOME": str(place.home)}
        spec = SpawnSpec([sys.executable, "-I", "-S", ESCAPEE, words], env, str(place.root))
        lines = asyncio.run(_lines(session, walls.enclose(spec, place, network=False)))
    return {row["attempt"]: row for row in map(json.loads, lines)}


async def _lines(session: Any, spec: SpawnSpec) -> list[str]:
    async with await Warden.start(freeze_s=60, on_frozen=lambda _: None, on_lost=lambda: None) as warden:
        process = await warden.spawn(session, spec)
        lines = [line.text async for line in process.lines()]
        status = await process.wait()
        assert status.code == 0, (status, lines)
        return lines


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_nothing_a_hostile_agent_tries_succeeds_behind_walls(name, tmp_path):
    walls = standing(name, tmp_path / "volume", database_url=f"sqlite:///{tmp_path}/corral.db")

    told = attempts(walls, tmp_path, is_walled=True)

    assert len(told) == ATTEMPTS
    claimed = told.keys() - (UNSEEN if name == "landlock" else set())
    assert [row for attempt, row in told.items() if row["done"] and attempt in claimed] == []


def test_without_walls_the_same_attempts_succeed(tmp_path):
    told = attempts(NoWalls(), tmp_path, is_walled=False)

    assert len(told) == ATTEMPTS
    failed = {attempt for attempt, row in told.items() if not row["done"]}
    assert failed - NEVER - MAYBE == set()
    assert [told[attempt] for attempt in NEVER if told[attempt]["done"]] == []


def test_walls_that_show_too_much_are_found_out(tmp_path):
    walls = standing("bubblewrap", tmp_path / "volume")
    leaky = replace(walls, view=replace(walls.view, readable=[*walls.view.readable, tmp_path], hidden=[]))

    told = attempts(leaky, tmp_path, is_walled=True)

    escaped = {attempt for attempt, row in told.items() if row["done"]}
    assert {"read_another_sessions_file", "read_the_operators_home", "list_the_volume"} <= escaped
