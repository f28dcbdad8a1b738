"""Brings an agent's process up: workspace, program, conversation to resume, private files, environment."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import structlog

from shared.agents.driver import Driver, File, Launch, LaunchOptions
from shared.domain.errors import CorralError
from shared.domain.ids import SessionId
from shared.domain.session import Mode, Session
from shared.store import transcripts
from shared.workspaces.kind import Kind, Place, SpawnSpec
from workers.host import environment, regular, sharing
from workers.host.agent import Started
from workers.host.agent_process import Process
from workers.host.egress.dial import Dialer
from workers.host.egress.gate import Gate
from workers.host.egress.outlet import Outlet
from workers.host.locate import command_of
from workers.host.orphans import kill_marked
from workers.host.world import Keeper, Threads, World

log = structlog.get_logger(__name__)


class StartFailed(CorralError):
    """The agent could not be brought up; the message may be shown to callers."""

    code = "start_failed"

    def __init__(self, problem: str, *, stderr: str = "") -> None:
        shown = f"{problem.rstrip('.')}: {stderr}" if stderr else problem
        super().__init__(f"The agent could not be started: {shown}", problem=shown)
        self.cause = problem
        """The problem without what the agent wrote to stderr: a log must not hold an agent's words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a session's agent is to be started this time."""

    session: Session
    mode: Mode
    model: str | None
    conversation: str | None
    """The agent's own id of what is to be resumed; None begins afresh."""
    fork: bool
    """That conversation is copied, and stays as it is."""
    mirrored: str | None
    """The conversation whose mirrored transcript is known."""
    cost_left_usd: float | None
    clear_leftovers: bool
    """Another host had the session before: whatever of it still runs on this machine is killed first."""
    gate: Gate | None = None
    """Decides where the agent may go; None: wherever the machine may."""


async def start(world: World, threads: Threads, keeper: Keeper, plan: Plan) -> Started:
    """Start the agent's process. Nothing of it runs where this raises.

    Raises:
        StartFailed: no such agent or workspace kind here, no program, no workspace, no process.
    """
    try:
        return await _start(world, threads, keeper, plan)
    except StartFailed:
        raise
    except CorralError as problem:
        raise StartFailed(problem.message) from problem
    except OSError as problem:
        # The reason only: where this worker keeps its files is nobody's business.
        raise StartFailed(problem.strerror or "the worker's disk failed") from problem


async def _start(world: World, threads: Threads, keeper: Keeper, plan: Plan) -> Started:
    session = plan.session
    driver, kind = _driver(world, session), _kind(world, session)
    if plan.clear_leftovers:
        await threads.disk(kill_marked, session.id, spare=(os.getpid(), keeper.pid))
    opening = threads.disk(_open, world, kind, driver, session)
    (place, command), known = await asyncio.gather(opening, _transcript(world, threads, plan))
    options = LaunchOptions(
        session=session.id,
        command=command,
        cwd=str(place.root),
        home=str(place.home),
        mode=plan.mode,
        model=plan.model,
        agent_session_id=plan.conversation,
        fork=plan.fork,
        transcript=known,
        mcp_servers=session.spec.mcp_servers,
        allow_bypass=world.allow_bypass,
        max_turn_cost_usd=plan.cost_left_usd,
    )
    launch = driver.launch(options)
    await threads.disk(_prepare_home, place.home, launch)
    env = _environment(world, session, place, launch)
    spec = SpawnSpec(argv=launch.argv, env=env, cwd=str(place.root))
    process, outlet = await _spawn(world, threads, keeper, plan, (spec, place))
    return Started(process, driver.dialogue(options), launch, options, outlet)


async def _spawn(
    world: World, threads: Threads, keeper: Keeper, plan: Plan, inside: tuple[SpawnSpec, Place]
) -> tuple[Process, AbstractAsyncContextManager[None]]:
    session, walls, (spec, place) = plan.session, world.volume.walls, inside
    if plan.gate is None:
        if session.spec.allowed_domains:
            raise StartFailed("no wall of this worker holds an agent to its allowed_domains.")
        walled = await threads.disk(walls.enclose, spec, place, network=True, openings=place.openings)
        return await keeper.spawn(session.id, walled), contextlib.nullcontext()
    outlet = await threads.disk(Outlet.open, plan.gate, Dialer(plan.gate.policy.networks, world.resolve))
    try:
        inner, openings = outlet.through(spec), [*place.openings, outlet.folder]
        walled = await threads.disk(walls.enclose, inner, place, network=False, openings=openings)
        return await keeper.spawn(session.id, walled), outlet.serving()
    except BaseException:
        outlet.close()
        raise


def _driver(world: World, session: Session) -> Driver:
    driver = world.drivers.get(session.spec.agent)
    if driver is None:
        raise StartFailed(f"this worker knows no agent {session.spec.agent!r}.")
    return driver


def _kind(world: World, session: Session) -> Kind:
    kind = world.kinds.get(session.spec.workspace_kind)
    if kind is None:
        raise StartFailed(f"this worker knows no workspace kind {session.spec.workspace_kind!r}.")
    return kind


def _open(world: World, kind: Kind, driver: Driver, session: Session) -> tuple[Place, list[str]]:
    command = command_of(driver, world.commands)
    if not command:
        setting = f"CORRAL_{driver.name.upper()}_COMMAND"
        raise StartFailed(f"{driver.program} is not on the worker's PATH. Install it there, or set {setting}.")
    place = kind.open(session.id, session.spec.workspace, world.volume)
    if not place.managed:
        sharing.check(world.database, session, place, world.volume)
    # Agents name their files after the real path.
    return replace(place, root=place.root.resolve(), home=place.home.resolve()), list(command)


async def _transcript(world: World, threads: Threads, plan: Plan) -> list[str]:
    if plan.mirrored is None:
        return []
    return await threads.patiently(_read_transcript, world, plan.session.id, plan.mirrored)


def _read_transcript(world: World, session: SessionId, conversation: str) -> list[str]:
    with world.database.read() as connection:
        return transcripts.read(connection, session, conversation)


def _prepare_home(home: Path, launch: Launch) -> None:
    environment.temporary(home).mkdir(mode=0o700, exist_ok=True)
    for file in launch.files:
        _write(home, file)


def _write(home: Path, file: File) -> None:
    parts = PurePosixPath(file.path).parts
    if not parts or file.path.startswith("/") or ".." in parts:
        raise StartFailed("its driver names a file outside of the agent's home.")
    path = home.joinpath(*parts)
    if not file.replaces(regular.lines(path)):
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Beside it, then moved: the agent of an earlier start may have left a symlink in its place.
    fresh = path.with_name(f".{path.name}.corral")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(file.content)
    fresh.replace(path)


def _environment(world: World, session: Session, place: Place, launch: Launch) -> Mapping[str, str]:
    layers = (environment.allowed(world.environ), world.child_env, session.spec.env, launch.env)
    return environment.of_agent(session.id, place.home, *layers)
