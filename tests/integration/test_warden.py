"""No agent outlives its host, works without its host's beat, or escapes the end of its session. Real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.domain.ids import SessionId, mint_session
from shared.workspaces.kind import SpawnSpec
from tests.fixtures.machine import all_grow, clear, hydra, standing_in, stands_still, tiny_host
from tests.fixtures.waiting import eventually, eventually_async
from workers.host.orphans import kill_marked
from workers.host.processes import Warden
from workers.host.tree import MARK, look, pids

HEADS = {"leader", "child", "session", "orphan", "scrubbed"}
ONE, OTHER = SessionId("ses_one"), SessionId("ses_other")


@asynccontextmanager
async def a_warden(**limits):
    async with await Warden.start(freeze_s=60, on_frozen=lambda _: None, on_lost=lambda: None, **limits) as warden:
        yield warden


def a_hydra(folder: Path, *arguments: str) -> SpawnSpec:
    return SpawnSpec(hydra(*arguments), {"PATH": os.defpath}, str(folder))


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    clear(tmp_path)


@pytest.fixture
def other_folder(folder):
    inner = folder / "other"
    inner.mkdir()
    yield inner
    clear(inner)


# --- the host's end ---------------------------------------------------------------------------------------------


def test_a_killed_host_leaves_no_agent_after_two_seconds(folder):
    with tiny_host(f"ses_one={folder}=heads") as host:
        all_grow(folder, HEADS)

        host.program.kill()

        eventually(lambda: not standing_in(folder), timeout_s=2)
        eventually(lambda: look(host.warden) is None or look(host.warden).state == "Z", timeout_s=2)


def test_a_signal_to_the_hosts_group_does_not_reach_the_warden_first(folder):
    with tiny_host(f"ses_one={folder}=heads") as host:
        all_grow(folder, HEADS)

        os.killpg(host.program.pid, signal.SIGKILL)

        eventually(lambda: not standing_in(folder), timeout_s=2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_the_warden_outlives_the_signals_of_a_shutdown(folder, number):
    with tiny_host(f"ses_one={folder}=heads") as host:
        all_grow(folder, HEADS)

        os.kill(host.warden, number)

        all_grow(folder, HEADS)
        host.program.kill()
        eventually(lambda: not standing_in(folder), timeout_s=2)


def test_a_stopped_hosts_agents_stand_still_and_go_on_when_it_is_back(folder, other_folder):
    agents = (f"ses_one={folder}=heads", f"ses_other={other_folder}=heads")
    with tiny_host(*agents, freeze_s=0.5, keep="ses_one") as host:
        all_grow(folder, HEADS)
        all_grow(other_folder, HEADS)

        host.program.send_signal(signal.SIGSTOP)

        eventually(lambda: stands_still(folder, for_s=0.2), timeout_s=2)
        assert stands_still(other_folder, for_s=0.3)
        assert stands_still(folder, for_s=0.3)
        host.program.send_signal(signal.SIGCONT)
        assert host.hear() == {"event": "frozen", "sessions": ["ses_one", "ses_other"]}
        all_grow(folder, HEADS)
        eventually(lambda: not standing_in(other_folder), timeout_s=2, about="the session not kept is killed")


def test_what_an_agent_had_stopped_itself_stays_stopped_after_a_thaw(folder):
    with tiny_host(f"ses_one={folder}=heads", freeze_s=0.5, keep="ses_one") as host:
        all_grow(folder, HEADS)
        (asleep,) = [pid for pid in standing_in(folder) if look(pid).parent == host.agents[0] and _group(pid) != pid]
        os.kill(asleep, signal.SIGSTOP)

        host.program.send_signal(signal.SIGSTOP)
        eventually(lambda: stands_still(folder, for_s=0.2), timeout_s=2)
        host.program.send_signal(signal.SIGCONT)

        all_grow(folder, HEADS - {"child"})
        assert look(asleep).state == "T"


def _group(pid):
    return look(pid).group


def test_without_any_beat_agents_are_frozen(folder):
    with tiny_host(f"ses_one={folder}=heads", freeze_s=0.5, beats=False, keep="nobody") as host:
        assert host.hear() == {"event": "frozen", "sessions": ["ses_one"]}
        eventually(lambda: not standing_in(folder), timeout_s=2)


def test_a_killed_warden_leaves_nobody_and_the_host_is_told(folder, other_folder):
    with tiny_host(f"ses_one={folder}=heads", f"ses_other={other_folder}=heads") as host:
        all_grow(folder, HEADS)
        all_grow(other_folder, HEADS)

        os.kill(host.warden, signal.SIGKILL)

        assert host.hear() == {"event": "lost", "statuses": [9, 9]}
        assert not standing_in(folder)
        assert not standing_in(other_folder)


def test_host_and_warden_killed_at_once_leave_no_leader_and_a_takeover_ends_what_bears_the_mark(folder):
    taken = mint_session()
    with tiny_host(f"{taken}={folder}=heads") as host:
        all_grow(folder, HEADS)

        os.kill(host.warden, signal.SIGSTOP)
        host.program.kill()
        host.program.wait()
        os.kill(host.warden, signal.SIGKILL)

        (leader,) = host.agents
        eventually(lambda: leader not in standing_in(folder), timeout_s=2)
        kill_marked(taken)
        # What scrubbed its environment bears no mark; only a container ends that one.
        assert not {pid for pid in standing_in(folder) if f"{MARK}={taken}" in _environ(pid)}


# --- ends of one session ----------------------------------------------------------------------------------------


def test_stop_kills_the_whole_tree_and_no_other_session(folder, other_folder):
    async def scene():
        async with a_warden() as warden:
            one = await warden.spawn(ONE, a_hydra(folder, "heads", "0.7"))
            other = await warden.spawn(OTHER, a_hydra(other_folder, "heads", "0.7"))
            await asyncio.to_thread(all_grow, folder, HEADS)
            await asyncio.to_thread(all_grow, other_folder, HEADS)
            # The scrubbed one has lost its parents by now, and nothing on it says whose it was.
            for place in (folder, other_folder):
                await eventually_async(lambda place=place: len(standing_in(place)) == len(HEADS))

            status = await one.stop(grace_s=0.1)

            assert status.signal == signal.SIGKILL
            assert not standing_in(folder)
            await asyncio.to_thread(all_grow, other_folder, HEADS)
            assert await one.stop(grace_s=0.1) == status
            await warden.kill(OTHER)
            assert (await other.wait()).signal == signal.SIGKILL
            assert not standing_in(other_folder)

    asyncio.run(scene())


def test_an_orphan_nobody_was_seen_to_start_ends_with_the_last_session_that_may_have(folder, other_folder):
    async def scene():
        async with a_warden() as warden:
            await warden.spawn(ONE, a_hydra(folder, "heads"))
            await warden.spawn(OTHER, a_hydra(other_folder, "heads"))
            await asyncio.to_thread(all_grow, folder, HEADS)
            await asyncio.to_thread(all_grow, other_folder, HEADS)

            await warden.kill(ONE)
            await warden.kill(OTHER)

            assert not standing_in(folder)
            assert not standing_in(other_folder)

    asyncio.run(scene())


def test_an_agent_that_ends_by_itself_leaves_nothing_and_its_lines_end(folder):
    async def scene():
        async with a_warden() as warden:
            process = await warden.spawn(ONE, a_hydra(folder, "leave", "0.5"))
            await asyncio.to_thread(all_grow, folder, HEADS)

            async with asyncio.timeout(5):
                assert [line async for line in process.lines()] == []
                status = await process.wait()

            assert status.code == 7
            await eventually_async(lambda: not standing_in(folder), timeout_s=1)

    asyncio.run(scene())


def test_a_next_process_of_a_session_is_spared_by_the_end_of_the_one_before(folder):
    async def scene():
        async with a_warden() as warden:
            first = await warden.spawn(ONE, a_hydra(folder, "leave", "0.5"))
            await asyncio.to_thread(all_grow, folder, HEADS)
            await first.wait()

            second = await warden.spawn(ONE, SpawnSpec(["cat"], {"PATH": os.defpath}, str(folder)))

            assert standing_in(folder) == {second.pid}
            await second.write(b"still here\n")
            async for line in second.lines():
                assert line.text == "still here"
                break

    asyncio.run(scene())


def test_a_polite_agent_is_not_killed(folder):
    async def scene():
        async with a_warden() as warden:
            script = "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done"
            process = await warden.spawn(ONE, SpawnSpec(["sh", "-c", script], {"PATH": os.defpath}, str(folder)))
            async for line in process.lines():
                assert line.text == "up"
                break

            assert (await process.stop(grace_s=10)).code == 4

    asyncio.run(scene())


def test_an_agent_that_kills_what_adopts_its_orphans_ends_whole(folder, other_folder):
    async def scene():
        async with a_warden() as warden:
            other = await warden.spawn(OTHER, a_hydra(other_folder, "count", "other"))
            process = await warden.spawn(ONE, a_hydra(folder, "heads"))
            await asyncio.to_thread(all_grow, folder, HEADS)
            keeper = look(process.pid).parent
            assert keeper != warden.pid

            os.kill(keeper, signal.SIGKILL)

            assert (await process.wait()).signal == signal.SIGKILL
            await eventually_async(lambda: not standing_in(folder), timeout_s=2)
            await asyncio.to_thread(all_grow, other_folder, {"other"})
            assert not other.has_ended

    asyncio.run(scene())


def test_a_fork_bomb_is_ended_whole(folder):
    standing = len(pids())

    async def scene():
        async with a_warden() as warden:
            process = await warden.spawn(ONE, a_hydra(folder, "bomb", str(standing + 200)))
            await eventually_async(lambda: len(standing_in(folder)) > 50)

            async with asyncio.timeout(20):
                await process.stop(grace_s=0)

            assert not standing_in(folder)

    asyncio.run(scene())


def test_a_session_with_too_many_processes_is_ended_and_its_exit_says_why(folder, other_folder):
    async def scene():
        async with a_warden(process_limit=40) as warden:
            other = await warden.spawn(OTHER, a_hydra(other_folder, "heads"))
            process = await warden.spawn(ONE, a_hydra(folder, "bomb", str(len(pids()) + 100)))

            async with asyncio.timeout(20):
                status = await process.wait()

            assert status.signal == signal.SIGKILL
            assert "more than 40 processes" in status.stderr_tail
            await eventually_async(lambda: not standing_in(folder))
            assert not other.has_ended

    asyncio.run(scene())


def test_a_chain_of_forks_cannot_outrun_the_end(folder):
    async def scene():
        async with a_warden() as warden:
            process = await warden.spawn(ONE, a_hydra(folder, "chain"))
            await asyncio.to_thread(all_grow, folder, {"chain"})

            async with asyncio.timeout(20):
                await process.stop(grace_s=0)

            assert not standing_in(folder)
            assert stands_still(folder, for_s=0.3)

    asyncio.run(scene())


# --- takeover ---------------------------------------------------------------------------------------------------


def test_what_bears_a_sessions_mark_is_killed_but_not_beneath_ones_own_warden(folder, other_folder):
    # Its own id: tests that run beside this one must keep their agents.
    taken = mint_session()

    async def scene():
        async with a_warden() as warden:
            await warden.spawn(taken, a_hydra(other_folder, "count", "ours"))
            left = await asyncio.to_thread(_left_behind, folder, taken)
            await asyncio.to_thread(all_grow, folder, HEADS - {"scrubbed"})
            await asyncio.to_thread(all_grow, other_folder, {"ours"})
            marked = {pid for pid in standing_in(folder) if f"{MARK}={taken}" in _environ(pid)}

            killed = await asyncio.to_thread(kill_marked, taken, spare={warden.pid})

            left.wait(5)
            assert killed >= len(marked) >= len(HEADS) - 1
            assert not marked & standing_in(folder)
            await asyncio.to_thread(all_grow, other_folder, {"ours"})
            assert await asyncio.to_thread(kill_marked, taken, spare={warden.pid}) == 0

    asyncio.run(scene())


def _left_behind(folder, session):
    return subprocess.Popen(hydra("heads"), cwd=folder, env={MARK: session}, start_new_session=True)


def _environ(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# --- the host is never held up ------------------------------------------------------------------------------------


def test_a_beat_never_waits_for_a_warden_that_hangs(folder):
    async def scene():
        async with a_warden() as warden:
            os.kill(warden.pid, signal.SIGSTOP)
            try:
                begun = time.monotonic()
                for _ in range(20_000):
                    warden.beat()
                assert time.monotonic() - begun < 5
            finally:
                os.kill(warden.pid, signal.SIGCONT)

    asyncio.run(scene())


def _resident_kb(pid):
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (resident,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return resident


def test_the_warden_is_small():
    async def scene():
        async with a_warden() as warden:
            assert _resident_kb(warden.pid) < 12 * 1024
            assert _environ(warden.pid) == ""

    asyncio.run(scene())
