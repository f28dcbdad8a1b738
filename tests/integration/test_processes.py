"""What a host can rely on when it starts an agent and talks to it: exact environment, bounded waits, clear failures."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.domain.errors import AgentGone, AgentNotReading, SpawnFailed, WardenLost
from shared.domain.ids import SessionId
from shared.workspaces.kind import SpawnSpec
from tests.fixtures.machine import children, descriptors
from tests.fixtures.waiting import eventually_async
from workers.host.processes import Warden
from workers.host.tree import MARK, look

SESSION = SessionId("ses_one")
PYTHON = [sys.executable, "-I", "-S", "-c"]
TELL_ABOUT_ITSELF = """
import json, os, signal
print(json.dumps({
    "env": dict(os.environ), "cwd": os.getcwd(), "open": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1],
    "leads": os.getpid() == os.getsid(0) == os.getpgrp(), "nice": os.nice(0),
    "ignored": [int(n) for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN],
    "status": [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn"))],
}))
"""


@asynccontextmanager
async def a_warden(**limits):
    lost = asyncio.Event()
    async with await Warden.start(freeze_s=60, on_frozen=lambda _: None, on_lost=lost.set, **limits) as warden:
        yield warden


def python(code: str, **env: str) -> SpawnSpec:
    return SpawnSpec([*PYTHON, code], env, "/")


def test_an_agent_gets_exactly_its_environment_directory_and_pipes(tmp_path):
    async def scene():
        async with a_warden() as warden:
            env = {"LC_ALL": "C.UTF-8", "EMPTY": "", "ODD": "a=b\n\udcff"}
            process = await warden.spawn(SESSION, SpawnSpec([*PYTHON, TELL_ABOUT_ITSELF], env, str(tmp_path)))

            (line,) = [line async for line in process.lines()]
            told = json.loads(line.text)

            assert told["env"] == {**env, MARK: SESSION}
            assert told["cwd"] == str(tmp_path)
            assert told["open"] == [0, 1, 2]
            assert told["leads"]
            assert told["nice"] == os.nice(0)
            # Python itself ignores SIGPIPE and SIGXFSZ at its start.
            assert set(told["ignored"]) <= {signal.SIGPIPE, signal.SIGXFSZ}
            assert "SigBlk:\t0000000000000000\n" in told["status"]
            assert (await process.wait()).code == 0

    asyncio.run(scene())


def test_a_command_and_environment_of_a_megabyte_arrive():
    async def scene():
        async with a_warden() as warden:
            words = ["x" * 100_000] * 9
            env = {f"BIG{n}": "y" * 100_000 for n in range(6)}
            code = "import os, sys; print(sum(map(len, sys.argv[1:])), len(os.environ['BIG5']))"
            process = await warden.spawn(SESSION, SpawnSpec([*PYTHON, code, *words], env, "/"))

            assert [line.text async for line in process.lines()] == ["900000 100000"]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("argv", "cwd", "step", "problem"),
    [
        (["no-such-program"], "/", "exec", "No such file"),
        (["/no/such/program"], "/", "exec", "No such file"),
        (["/etc/passwd"], "/", "exec", "Permission denied"),
        (["sh"], "/no/such/folder", "chdir", "No such file"),
        (["sh"], "/etc/passwd", "chdir", "Not a directory"),
        (["sh", "x" * 200_000], "/", "exec", "too long"),
        (["sh", "a\0b"], "/", "exec", "Invalid argument"),
        (["sh", "\ud800"], "/", "exec", "Invalid argument"),
        ([], "/", "exec", "empty"),
        ([""], "/", "exec", "empty"),
    ],
)
def test_a_spawn_that_fails_says_why_and_leaves_nothing(argv, cwd, step, problem):
    async def scene():
        async with a_warden() as warden:
            before = descriptors()

            with pytest.raises(SpawnFailed, match=problem) as failed:
                await warden.spawn(SESSION, SpawnSpec(argv, {"PATH": os.defpath}, cwd))

            assert failed.value.facts["step"] == step
            assert descriptors() == before
            await eventually_async(lambda: not children(warden.pid))
            process = await warden.spawn(SESSION, python("print('up')"))
            assert [line.text async for line in process.lines()] == ["up"]

    asyncio.run(scene())


def test_a_caller_that_goes_away_during_a_spawn_leaves_no_process(tmp_path):
    async def scene():
        async with a_warden() as warden:
            spawning = warden.spawn(SESSION, SpawnSpec(["sleep", "600"], {"PATH": os.defpath}, str(tmp_path)))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await spawning

            await warden.kill(SESSION)
            assert not children(warden.pid)

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit(3)", (3, None)),
        ("import os; os.kill(os.getpid(), 6)", (None, signal.SIGABRT)),
        ("", (0, None)),
    ],
)
def test_an_end_is_told_as_code_or_signal(code, expected):
    async def scene():
        async with a_warden() as warden:
            process = await warden.spawn(SESSION, python(code))
            async with asyncio.timeout(5):
                status = await process.wait()
            assert (status.code, status.signal) == expected
            assert process.has_ended

    asyncio.run(scene())


def test_the_last_four_kilobytes_of_stderr_are_kept_however_much_is_written():
    async def scene():
        async with a_warden() as warden:
            code = (
                "import sys; sys.stderr.write('x' * 5_000_000 + 'the end'); sys.stderr.flush(); sys.stdout.write('out')"
            )
            process = await warden.spawn(SESSION, python(code))

            status = await process.wait()

            assert len(status.stderr_tail) == 4096
            assert status.stderr_tail.endswith("xthe end")
            assert process.stderr_tail == status.stderr_tail
            assert [line.text async for line in process.lines()] == ["out"]

    asyncio.run(scene())


def test_what_is_written_arrives_whole_and_in_the_order_of_calls():
    async def scene():
        async with a_warden() as warden:
            process = await warden.spawn(SESSION, SpawnSpec(["cat"], {"PATH": os.defpath}, "/"))
            big = b"x" * 1_000_000
            async with asyncio.TaskGroup() as tasks:
                for number in range(5):
                    tasks.create_task(process.write(b"%d" % number + big + b"\n", timeout_s=20))
                tasks.create_task(_close_after(process, 5))
                lines = [line.text async for line in process.lines()]

            assert [line[0] for line in lines] == ["0", "1", "2", "3", "4"]
            assert {len(line) for line in lines} == {1_000_001}

    async def _close_after(process, count):
        await process.write(b"", timeout_s=20)
        process.close_stdin()

    asyncio.run(scene())


def test_a_write_to_an_agent_that_does_not_read_ends_at_its_deadline():
    async def scene():
        async with a_warden() as warden:
            process = await warden.spawn(SESSION, SpawnSpec(["sleep", "600"], {"PATH": os.defpath}, "/"))
            begun = time.monotonic()

            with pytest.raises(AgentNotReading):
                await process.write(b"x" * 10_000_000, timeout_s=0.2)

            assert 0.15 < time.monotonic() - begun < 5
            with pytest.raises(AgentGone):
                await process.write(b"more")

    asyncio.run(scene())


def test_a_write_to_an_agent_that_has_ended_says_so():
    async def scene():
        async with a_warden() as warden:
            process = await warden.spawn(SESSION, python(""))
            await process.wait()
            with pytest.raises(AgentGone):
                await process.write(b"hello\n")
            process.close_stdin()

    asyncio.run(scene())


def test_an_agent_waits_while_its_output_is_not_read(tmp_path):
    async def scene():
        async with a_warden() as warden:
            code = (
                "import sys\n"
                "for n in range(200_000):\n"
                "    print('x' * 99)\n"
                f"    if n % 1000 == 0: open({str(tmp_path / 'count')!r}, 'w').write(str(n))\n"
            )
            process = await warden.spawn(SESSION, python(code))
            lines = process.lines()
            await anext(lines)
            process.pause()

            await eventually_async(lambda: _blocked(process.pid), about="the agent waits for room in the pipe")

            assert int((tmp_path / "count").read_text()) < 20_000
            process.resume()
            assert 1 + len([line async for line in lines]) == 200_000

    asyncio.run(scene())


def _blocked(pid):
    # Only a write that waits for room is under way for long; its number is 1 on x86-64 and 64 on AArch64.
    return Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").startswith(("1 0x1 ", "64 0x1 "))


def test_after_the_wardens_end_nothing_can_be_started():
    async def scene():
        warden = await Warden.start(freeze_s=60, on_frozen=lambda _: None, on_lost=lambda: None)
        process = await warden.spawn(SESSION, SpawnSpec(["sleep", "600"], {"PATH": os.defpath}, "/"))

        await warden.close()
        await warden.close()

        assert look(process.pid) is None
        assert (await process.wait()).signal == signal.SIGKILL
        with pytest.raises(WardenLost):
            await warden.spawn(SESSION, python(""))
        await warden.kill(SESSION)
        warden.beat()

    asyncio.run(scene())


def test_forty_sessions_start_and_stop_without_leaving_a_descriptor():
    async def scene():
        async with a_warden() as warden:
            before = descriptors()
            async with asyncio.TaskGroup() as tasks:
                for number in range(40):
                    tasks.create_task(_live(warden, SessionId(f"ses_{number}")))
            await eventually_async(lambda: descriptors() == before)
            assert not children(warden.pid)

    async def _live(warden, session):
        process = await warden.spawn(session, SpawnSpec(["cat"], {"PATH": os.defpath}, "/"))
        await process.write(f"{session}\n".encode())
        async for line in process.lines():
            assert line.text == session
            await process.stop(grace_s=5)

    asyncio.run(scene())
