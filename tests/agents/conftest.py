"""The live suite runs where a real agent is installed, or where it is asked for by name: never half."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from shared.agents.driver import LaunchOptions
from shared.agents.registry import find
from shared.domain.ids import SessionId
from shared.domain.session import Mode
from tests.fakes.model_server import Running
from tests.fakes.responses_server import serve
from tests.fixtures.agents import Program, bundled_claude, bundled_codex, claude_program, codex_program
from tests.fixtures.databases import postgres_copy
from tests.fixtures.live_agent import LiveAgent
from tests.fixtures.live_session import LiveFleet, live_fleet
from tests.fixtures.valkey import valkey_running

LIVE_ROWS = 200
"""Tests of this folder, at least; a run of the whole folder in which fewer pass has failed, for whatever reason."""

HERE = Path(__file__).parent

Start = Callable[..., AbstractContextManager[LiveAgent]]


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """The workspace, as a real path."""
    return (tmp_path / "workspace").resolve()


@pytest.fixture
def start(claude_binary: Path, model_server: Running, tmp_path: Path, cwd: Path) -> Start:
    """Starts Claude Code; what is given replaces fields of its options."""
    return _starting(claude_program(claude_binary, model_server), tmp_path, cwd)


@pytest.fixture
def start_codex(codex_binary: Path, model_server: Running, tmp_path: Path, cwd: Path) -> Start:
    """Starts Codex in the same way."""
    return _starting(codex_program(codex_binary, model_server), tmp_path.resolve(), cwd)


def _starting(program: Program, folder: Path, cwd: Path) -> Start:
    def started(**changes: object) -> LiveAgent:
        options = LaunchOptions(
            session=SessionId("ses_live"),
            command=program.command,
            cwd=str(cwd),
            home=str(folder / "home"),
            mode=Mode.INTERACTIVE,
            model=None,
            agent_session_id=None,
        )
        return LiveAgent(find(program.agent), dataclasses.replace(options, **changes), program.environment)

    return started


CALM = {
    "CORRAL_BEAT_S": "0.5",
    "CORRAL_FREEZE_S": "6",
    "CORRAL_LAPSE_S": "8",
    "CORRAL_STOP_S": "5",
    "CORRAL_INTERRUPT_S": "10",
}
"""As in a product: where nothing is lost, a busy machine must not look like a loss."""
PHONE = {"CORRAL_MCP_TOOLS": "corral,poke"}


Pointed = Callable[[Running], Program]


@contextmanager
def _house(folder: Path, database_url: str, pointed: Pointed, **more: str) -> Iterator[LiveFleet]:
    with (
        valkey_running(folder) as valkey,
        serve() as model,
        live_fleet(folder, database_url, valkey.url, pointed(model), model, **CALM, **PHONE, **more) as house,
    ):
        house.fleet.api()
        house.fleet.worker()
        house.fleet.delivery()
        yield house


@pytest.fixture(scope="module")
def sqlite_house(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, claude_binary: Path
) -> Iterator[LiveFleet]:
    """API, worker and delivery on SQLite, for all tests of a file."""
    folder = tmp_path_factory.mktemp("house")
    with _house(folder, _sqlite(folder, sqlite_template), partial(claude_program, claude_binary)) as house:
        yield house


@pytest.fixture(scope="module")
def codex_house(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, codex_binary: Path
) -> Iterator[LiveFleet]:
    """The same, where Codex is the agent."""
    folder = tmp_path_factory.mktemp("house").resolve()
    # Its own sandbox cannot be put up inside of ours: docs/agents/codex.md.
    with _house(
        folder, _sqlite(folder, sqlite_template), partial(codex_program, codex_binary), CORRAL_SANDBOX="off"
    ) as house:
        yield house


def _sqlite(folder: Path, template: Path) -> str:
    shutil.copyfile(template, folder / "corral.db")
    return f"sqlite:///{folder / 'corral.db'}"


@pytest.fixture(scope="module")
def postgresql_house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, postgres_template: str, claude_binary: Path
) -> Iterator[LiveFleet]:
    """The same on PostgreSQL."""
    with (
        postgres_copy(postgres_server, postgres_template) as url,
        _house(tmp_path_factory.mktemp("house"), url, partial(claude_program, claude_binary)) as house,
    ):
        yield house


@pytest.fixture
def house(request: pytest.FixtureRequest) -> Iterator[LiveFleet]:
    """A running house: on SQLite unless the test is parametrized otherwise. Sessions are ended with the test."""
    running: LiveFleet = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_house")
    before = len(running.model.record.violations)
    yield running
    running.end_all()
    assert running.model.record.violations[before:] == []


def _is_asked_for(config: pytest.Config) -> bool:
    return any("tests/agents" in str(argument) for argument in config.invocation_params.args)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make test` installs no agent: there the folder is left out, while `make test-agents` insists on it."""
    nothing = bundled_claude() is None and bundled_codex() is None
    return True if nothing and not _is_asked_for(config) else None


def _is_whole(config: pytest.Config) -> bool:
    chosen = config.option.keyword or config.option.markexpr or config.option.deselect or config.option.collectonly
    return not chosen and all(Path(argument).resolve() == HERE for argument in config.args)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Count the rows that passed."""
    # With pytest-xdist it is the process that reports that counts; those that run the tests have no reporter.
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not _is_whole(session.config):
        return
    passed = len(reporter.stats.get("passed", []))
    if passed < LIVE_ROWS:
        reporter.ensure_newline()
        reporter.write_line(f"{passed} live rows passed, at least {LIVE_ROWS} are expected", red=True)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
