"""What may not be used, where, and why. ruff bans some of it too; here stand the places ruff cannot tell apart."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pytest

from tests.house.tree import Source, checks, imported, rooms, sources, used

EVERYWHERE = {
    "unittest.mock": "use the real thing, or a fake that passes the same conformance suite",
    "asyncio.create_task": "every task has a parent: asyncio.TaskGroup",
    "asyncio.ensure_future": "every task has a parent: asyncio.TaskGroup",
    "datetime.utcnow": "naive: shared.domain.clock",
    "datetime.datetime.utcnow": "naive: shared.domain.clock",
}
IN_TESTS = {
    "time.sleep": "wait for what you wait for: tests/fixtures/waiting.py",
    "pytest.mark.skip": "a test runs or is not there",
    "pytest.mark.skipif": "a test runs or is not there; a missing service: tests/fixtures/missing.py",
    "pytest.mark.xfail": "mend it or write down the limit in the guide",
    "pytest.skip": "a missing service: tests/fixtures/missing.py",
}
ENVIRONMENT = {"os.environ": "read by shared/settings/reading.py", "os.getenv": "read by shared/settings/reading.py"}


def _found(among: Iterable[Source], banned: dict[str, str]) -> list[str]:
    return [
        f"{source.name}:{line} {name}: {banned[name]}"
        for source in among
        for name, line in used(source.tree)
        if name in banned
    ]


def test_nothing_uses_what_is_banned_everywhere():
    assert not _found(sources(), EVERYWHERE)


def test_tests_neither_sleep_nor_skip():
    assert not _found((source for source in checks() if source.name != "tests/fixtures/missing.py"), IN_TESTS)


def test_only_settings_and_the_command_line_read_the_environment():
    others = (
        source
        for source in rooms()
        if source.name != "shared/settings/reading.py" and not source.name.startswith("cli/")
    )

    assert not _found(others, ENVIRONMENT)


def test_the_domain_knows_the_standard_library_and_itself():
    foreign = [
        f"{source.name}:{line} {name}"
        for source in rooms()
        if source.name.startswith("shared/domain/")
        for name, line in imported(source.tree)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("shared.domain")
    ]

    assert not foreign


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("from unittest import mock", EVERYWHERE),
        ("import unittest.mock as m", EVERYWHERE),
        ("asyncio.create_task(work())", EVERYWHERE),
        ("from asyncio import create_task", EVERYWHERE),
        ("datetime.datetime.utcnow()", EVERYWHERE),
        ("from time import sleep", IN_TESTS),
        ("time.sleep(1)", IN_TESTS),
        ("@pytest.mark.skipif(True)\ndef test(): ...", IN_TESTS),
        ("def f():\n    pytest.skip('no redis')", IN_TESTS),
        ("x = os.environ['HOME']", ENVIRONMENT),
        ("from os import getenv", ENVIRONMENT),
    ],
)
def test_a_banned_use_is_seen(code, banned):
    import ast  # noqa: PLC0415

    assert len(_found([Source("planted.py", code, ast.parse(code))], banned)) == 1
