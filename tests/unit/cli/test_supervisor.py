"""The supervisor with small real programs: order, readiness, restarts, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cli.supervisor import Part, PartFailed, Patience, Supervisor
from tests.fixtures.waiting import eventually, eventually_async
from workers.host.tree import look

FAST = Patience(first_s=0.05, most_s=0.2, calm_s=5.0)
LIVE = (
    "trap 'echo {name} end >> order; kill $!; exit 0' TERM; echo {name} begin >> order; sleep 600 & touch {name}; wait"
)


def part(folder: Path, name: str, script: str = LIVE, **more: object) -> Part:
    """A shell script that is ready once it has made the file of its name."""

    async def is_ready() -> bool:
        return (folder / name).exists()

    argv = ("sh", "-c", f"cd {folder}; " + script.format(name=name))
    return replace(Part(name, argv, {"PATH": os.environ["PATH"]}, is_ready), **more)


@asynccontextmanager
async def supervised(*parts: Part, out: io.StringIO | None = None):
    supervisor = Supervisor(parts, out=out or io.StringIO(), patience=FAST)
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(ready.set))
        async with asyncio.timeout(10):
            await ready.wait()
        try:
            yield supervisor
        finally:
            supervisor.stop()


def order(folder: Path) -> list[str]:
    file = folder / "order"
    return file.read_text().splitlines() if file.exists() else []


def is_gone(pid: int) -> bool:
    seen = look(pid)
    return seen is None or seen.state in "ZX"


def pid_in(file: Path) -> Callable[[], int]:
    return lambda: int(file.read_text() or 0) if file.exists() else 0


def test_parts_start_in_order_and_stop_in_reverse(tmp_path):
    async def scene():
        async with supervised(*(part(tmp_path, name) for name in ("one", "two", "three"))):
            assert order(tmp_path) == ["one begin", "two begin", "three begin"]

    asyncio.run(scene())

    assert order(tmp_path)[3:] == ["three end", "two end", "one end"]


def test_a_part_waits_for_the_one_before_it_to_be_ready(tmp_path):
    async def scene():
        late = part(tmp_path, "late", "sleep 0.3; " + LIVE)
        async with supervised(late, part(tmp_path, "next")):
            assert order(tmp_path) == ["late begin", "next begin"]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "bad ended with status 3 before it was ready."),
        ("kill -SEGV $$", "bad was ended by signal 11 before it was ready."),
        ("exec sleep 600", "bad was not ready within 0.3 s."),
    ],
)
def test_a_first_start_that_fails_stops_what_was_started(tmp_path, script, told):
    parts = [part(tmp_path, "good"), part(tmp_path, "bad", script, ready_s=0.3), part(tmp_path, "never")]

    with pytest.raises(ExceptionGroup) as failed:
        asyncio.run(Supervisor(parts, out=io.StringIO(), patience=FAST).run(lambda: None))

    assert [str(one) for one in failed.value.exceptions] == [told]
    assert isinstance(failed.value.exceptions[0], PartFailed)
    assert order(tmp_path) == ["good begin", "good end"]


def test_a_program_that_is_not_there_is_told_by_name(tmp_path):
    missing = replace(part(tmp_path, "ghost"), argv=("no-such-program",))

    with pytest.raises(ExceptionGroup) as failed:
        asyncio.run(Supervisor([missing], out=io.StringIO()).run(lambda: None))

    assert "ghost could not be started" in str(failed.value.exceptions[0])
    assert "no-such-program" in str(failed.value.exceptions[0])


def test_a_part_that_dies_is_started_again_with_growing_pauses(tmp_path):
    out = io.StringIO()

    async def scene():
        # Lives until its file is there, which the probe sees once; then dies at once, each time.
        dying = part(tmp_path, "dying", "echo begin >> order; touch {name}; sleep 0.15; exit 7")
        async with supervised(dying, part(tmp_path, "calm"), out=out):
            await eventually_async(lambda: order(tmp_path).count("begin") >= 4, about="three restarts")

    asyncio.run(scene())

    told = [line for line in out.getvalue().splitlines() if "ended with status 7" in line]
    assert [line.rpartition(" in ")[2] for line in told[:3]] == ["0.05 s", "0.1 s", "0.2 s"]
    assert order(tmp_path).count("calm begin") == 1


def test_a_restarted_part_that_does_not_become_ready_is_ended_and_tried_again(tmp_path):
    out = io.StringIO()

    async def scene():
        # Its sign of readiness goes with it: a second life that hangs must not look ready by the first one's.
        first = (
            "if [ -e was ]; then echo hanging >> order; exec sleep 600; fi; touch was {name}; sleep 0.5; rm -f {name}"
        )
        async with supervised(part(tmp_path, "moody", first, ready_s=0.4), out=out):
            await eventually_async(lambda: order(tmp_path).count("hanging") >= 2, about="a second try")

    asyncio.run(scene())

    assert "moody was not ready within 0.4 s." in out.getvalue()


def test_a_part_that_ignores_term_is_killed_with_its_group(tmp_path):
    out = io.StringIO()

    async def scene():
        script = "trap '' TERM; sleep 600 & echo $! > child; touch {name}; while true; do sleep 600; done"
        async with supervised(part(tmp_path, "stubborn", script, stop_s=0.2), out=out):
            pass

    asyncio.run(scene())

    eventually(lambda: is_gone(pid_in(tmp_path / "child")()), about="its child is gone")
    assert "stubborn is killed" in out.getvalue()


def test_a_second_stop_does_not_wait(tmp_path):
    async def scene():
        script = "trap '' TERM; touch {name}; while true; do sleep 600; done"
        async with supervised(part(tmp_path, "stubborn", script, stop_s=60)) as supervisor:
            supervisor.stop()
            await asyncio.sleep(0)

    async def bounded():
        async with asyncio.timeout(5):
            await scene()

    asyncio.run(bounded())


def test_stop_during_the_start_ends_what_has_begun(tmp_path):
    async def scene():
        supervisor = Supervisor([part(tmp_path, "one"), part(tmp_path, "slow", "exec sleep 600")], out=io.StringIO())
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run(lambda: pytest.fail("it is not ready")))
            await eventually_async(lambda: "one begin" in order(tmp_path))
            supervisor.stop()

    asyncio.run(scene())

    assert order(tmp_path) == ["one begin", "one end"]


def test_each_line_of_output_is_told_with_its_part(tmp_path):
    out = io.StringIO()

    async def scene():
        script = "echo to-stdout; echo to-stderr >&2; printf 'bad \\377 byte\\n'; " + LIVE
        async with supervised(part(tmp_path, "talker", script), part(tmp_path, "b"), out=out):
            await eventually_async(lambda: "byte" in out.getvalue(), about="its lines")

    asyncio.run(scene())

    assert [line for line in out.getvalue().splitlines() if line.startswith("talker | ")] == [
        "talker | to-stdout",
        "talker | to-stderr",
        "talker | bad \ufffd byte",
    ]


def test_an_endless_line_stops_nothing(tmp_path):
    out = io.StringIO()

    async def scene():
        script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after; " + LIVE
        async with supervised(part(tmp_path, "flood", script), out=out):
            await eventually_async(lambda: "| after\n" in out.getvalue(), about="the line after")

    asyncio.run(scene())


def test_a_terminal_that_has_gone_stops_nothing(tmp_path):
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

    async def scene():
        async with supervised(part(tmp_path, "talker", "echo x; " + LIVE), out=Gone()):
            assert order(tmp_path) == ["talker begin"]

    asyncio.run(scene())

    assert order(tmp_path)[-1] == "talker end"


def test_kill_9_of_the_supervisor_takes_its_parts_along(tmp_path):
    program = textwrap.dedent("""
        import asyncio, sys
        from cli.supervisor import Part, Supervisor
        async def ready(): return True
        part = Part("stubborn", ("sh", "-c", sys.argv[1]), {"PATH": sys.argv[2]}, ready)
        asyncio.run(Supervisor([part]).run(lambda: None))
    """)
    script = f"trap '' TERM HUP; echo $$ > {tmp_path}/pid; while true; do sleep 1; done"
    argv = [sys.executable, "-c", program, script, os.environ["PATH"]]
    with subprocess.Popen(argv, cwd=Path(__file__).parents[3], stdout=subprocess.DEVNULL) as supervisor:
        pid = eventually(pid_in(tmp_path / "pid"), about="the part runs")

        supervisor.send_signal(signal.SIGKILL)

    eventually(lambda: is_gone(pid), timeout_s=3, about="the part is gone")
