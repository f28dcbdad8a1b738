"""The ladder, Retry-After and the moment of a cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings.groups import Delivery
from workers.delivery.schedule import Ladder, cut_wait_s, read_retry_after

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DEFAULT = Ladder.read(Delivery().ladder_s, 1.0)


def test_the_default_ladder_is_the_documented_one():
    assert DEFAULT.steps_s == (5, 30, 120, 600, 1800, 3600, 7200, 18000, 36000)


@given(failures=st.integers(1, 9), jitter=st.floats(0, 1, exclude_max=True))
def test_each_delay_is_its_step_within_a_fifth(failures, jitter):
    delay = DEFAULT.delay_s(failures, jitter=jitter, retry_after_s=None)

    step = DEFAULT.steps_s[failures - 1]
    assert delay is not None
    assert 0.8 * step <= delay <= 1.2 * step


def test_after_the_last_step_there_is_no_retry():
    assert DEFAULT.delay_s(10, jitter=0.5, retry_after_s=7.0) is None


@pytest.mark.parametrize(("asked", "given_"), [(1.0, 30.0), (77.0, 77.0), (86400.0, 3600.0)])
def test_retry_after_lengthens_a_step_to_an_hour_at_most(asked, given_):
    assert DEFAULT.delay_s(2, jitter=0.5, retry_after_s=asked) == given_


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 400, 999999999.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Sat, 31 Jan 2026 12:01:30 GMT", 90.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("Sat, 99 Jan 2026 12:01:30 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date_and_nothing_else(header, seconds):
    assert read_retry_after(header, NOW) == seconds


@given(st.text())
def test_no_retry_after_raises(header):
    assert (read_retry_after(header, NOW) or 0.0) >= 0.0


@pytest.mark.parametrize(
    ("steps", "scale", "named"),
    [(["5", "x"], 1.0, "RETRY_S"), (["-1"], 1.0, "RETRY_S"), (["5"], 0.0, "TIME_SCALE"), (["nan"], 1.0, "RETRY_S")],
)
def test_a_ladder_that_cannot_be_is_refused_by_name(steps, scale, named):
    with pytest.raises(ValueError, match=named):
        Ladder.read(steps, scale)


def test_a_cut_waits_out_its_window_unless_it_is_full():
    assert cut_wait_s(1, 10.0, 10.05, 0.2) == pytest.approx(0.15)
    assert cut_wait_s(1, 10.0, 10.3, 0.2) == 0.0
    assert cut_wait_s(100, 10.0, 10.0, 0.2) == 0.0


def test_dates_in_retry_after_may_name_an_offset():
    header = (NOW + timedelta(seconds=60)).strftime("%a, %d %b %Y %H:%M:%S +0000")

    assert read_retry_after(header, NOW) == 60.0
