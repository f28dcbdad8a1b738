"""Lines out of whatever an agent prints: nothing invented, nothing silently lost, nothing unbounded."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.host.lines import FREE_BYTES, Line, LineBudget, LineReader, LineSplitter

PIECES = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"\n\n", b"\xc3", b"\xa9\n", b"\r\n"])))
PLENTY = 1 << 40


def splitter(*, limit: int = 1 << 20, total: int = PLENTY) -> LineSplitter:
    return LineSplitter(limit=limit, budget=LineBudget(total))


def split(pieces: list[bytes], made: LineSplitter, *, most: int = 256) -> list[Line]:
    lines = []
    for piece in pieces:
        made.feed(piece)
        while not made.is_hungry:
            lines += made.take(most)
    return lines + made.finish()


def model(pieces: list[bytes], limit: int) -> list[Line]:
    whole = b"".join(pieces).split(b"\n")
    if not whole[-1]:
        whole.pop()
    return [Line(line[:limit].decode("utf-8", "backslashreplace"), max(0, len(line) - limit)) for line in whole]


@given(pieces=PIECES, limit=st.integers(1, 50), most=st.integers(1, 5))
def test_lines_are_what_lies_between_newlines_however_the_bytes_arrive(pieces, limit, most):
    assert split(pieces, splitter(limit=limit), most=most) == model(pieces, limit)


@given(pieces=PIECES, total=st.integers(0, 30))
def test_a_budget_is_whole_again_when_all_lines_have_ended(pieces, total):
    budget = LineBudget(total)
    made = LineSplitter(limit=20, budget=budget)

    lines = split(pieces, made)

    assert budget.left == total
    assert len(lines) == len(model(pieces, 20))


def test_a_line_longer_than_its_limit_keeps_its_beginning_and_counts_the_rest():
    assert split([b"abc", b"defg", b"hi\nnext\n"], splitter(limit=5)) == [Line("abcde", 4), Line("next")]


def test_bad_utf_8_and_nul_stay_visible():
    assert split([b"a\xff\xfe\0b\n"], splitter()) == [Line("a\\xff\\xfe\0b")]


def test_a_character_cut_by_a_read_is_whole_again():
    assert split([b"caf\xc3", b"\xa9\n"], splitter()) == [Line("café")]


def test_huge_unfinished_lines_share_one_budget_and_small_ones_need_none():
    budget = LineBudget(100_000)
    huge, other, small = (LineSplitter(limit=1 << 20, budget=budget) for _ in range(3))

    for made, size in ((huge, FREE_BYTES + 90_000), (other, FREE_BYTES + 50_000), (small, 1000)):
        made.feed(b"x" * size)
        assert made.take(10) == []

    assert budget.left == 0
    assert [line.dropped for line in huge.finish()] == [0]
    assert [line.dropped for line in other.finish()] == [40_000]
    assert [line.dropped for line in small.finish()] == [0]
    assert budget.left == 100_000


def test_the_work_grows_with_the_bytes_and_not_with_their_square():
    def seconds(size: int) -> float:
        piece = b"x" * 1000
        made = splitter(limit=PLENTY)
        begun = time.thread_time()
        split([piece] * (size // len(piece)), made)
        return time.thread_time() - begun

    small = min(seconds(2_000_000) for _ in range(3))

    # Ten times the bytes; a rescan of what is kept would take a hundred times as long.
    assert min(seconds(20_000_000) for _ in range(2)) < 40 * small + 0.05


# --- from a pipe --------------------------------------------------------------------------------------------------


def pipe_with(data: bytes) -> int:
    """The reading end of a pipe; a thread writes `data` and closes the other end."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as out:
            out.write(data)

    threading.Thread(target=write, daemon=True).start()
    return reading


def test_several_lines_come_of_one_read_and_the_last_needs_no_newline():
    async def scene():
        reader = LineReader(pipe_with(b"one\ntwo\n\nthree"), splitter())
        return [line.text async for batch in reader.batches() for line in batch]

    assert asyncio.run(scene()) == ["one", "two", "", "three"]


def test_an_end_of_file_ends_the_lines_at_once():
    async def scene():
        begun = time.monotonic()
        reader = LineReader(pipe_with(b""), splitter())
        assert [batch async for batch in reader.batches()] == []
        return time.monotonic() - begun

    assert asyncio.run(scene()) < 0.5


def test_a_flood_of_lines_leaves_turns_to_the_loops_other_work():
    async def scene():
        reader = LineReader(pipe_with(b"\n" * 200_000), splitter())
        turns = taken = 0
        done = asyncio.Event()

        async def count_turns():
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(count_turns())
            async for batch in reader.batches(100):
                assert 0 < len(batch) <= 100
                taken += len(batch)
            done.set()
        return turns, taken

    turns, taken = asyncio.run(scene())
    assert taken == 200_000
    assert turns >= 200_000 // 100


def test_a_reader_nobody_takes_from_reads_one_piece_and_burns_no_time():
    async def scene():
        reader = LineReader(pipe_with(b"x" * 99 + b"\n" + b"y" * 5_000_000), splitter(limit=PLENTY))
        lines = reader.batches()
        assert (await anext(lines))[0].text == "x" * 99
        used = time.process_time()
        await asyncio.sleep(0.2)
        used = time.process_time() - used
        rest = [line async for batch in lines for line in batch]
        return used, rest

    used, rest = asyncio.run(scene())
    assert used < 0.1
    assert [len(line.text) for line in rest] == [5_000_000]


def test_a_closed_reader_ends_its_lines_and_returns_its_budget():
    async def scene():
        budget = LineBudget(1 << 20)
        reading, writing = os.pipe()
        reader = LineReader(reading, LineSplitter(limit=1 << 20, budget=budget))
        os.write(writing, b"first\n" + b"x" * 60_000)
        lines = reader.batches()
        assert [line.text for line in await anext(lines)] == ["first"]
        reader.close()
        reader.close()
        rest = [len(line.text) async for batch in lines for line in batch]
        os.close(writing)
        return rest, budget.left

    assert asyncio.run(scene()) == ([60_000], 1 << 20)


HUNDRED_MEGABYTES = """
import asyncio, os, resource, sys
from workers.host.lines import LineBudget, LineReader, LineSplitter

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

async def main():
    before = peak()
    reader = LineReader(0, LineSplitter(limit=LIMIT, budget=LineBudget(64 << 20)))
    lines = [(len(line.text), line.dropped) async for batch in reader.batches() for line in batch]
    print(lines, peak() - before)

asyncio.run(main())
"""


@pytest.mark.parametrize("limit", [1 << 20, 16 << 20])
def test_a_line_of_a_hundred_megabytes_costs_twice_its_limit_for_a_moment(limit):
    writer = subprocess.Popen(
        [sys.executable, "-c", "import os\nfor _ in range(100): os.write(1, b'x' * 1_000_000)\nos.write(1, b'\\nend')"],
        stdout=subprocess.PIPE,
    )
    code = HUNDRED_MEGABYTES.replace("LIMIT", str(limit))
    told = subprocess.run(
        [sys.executable, "-c", code], stdin=writer.stdout, capture_output=True, text=True, check=True, timeout=60
    ).stdout

    assert writer.wait(10) == 0
    lines, _, grown = told.strip().rpartition(" ")
    assert lines == str([(limit, 100_000_000 - limit), (3, 0)])
    # The bytes and, when the line ends, their text; the reads are 256 KiB.
    assert int(grown) < 2.2 * limit + 4_000_000
