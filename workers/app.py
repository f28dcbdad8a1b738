"""The worker process, put together: Celery's doorbells, the host and its warden, beat, sweep, files and probes."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import prometheus_client
import structlog

from shared.agents.registry import DRIVERS
from shared.channel.publisher import Publisher
from shared.domain.addresses import AddressRules
from shared.domain.errors import CorralError
from shared.domain.ids import SessionId, mint_incarnation
from shared.domain.lapse import LapseObserver
from shared.domain.session import Limits
from shared.operations.context import Context
from shared.operations.endings import Front
from shared.queue import Bell, make_app
from shared.settings.reading import Settings
from shared.store.database import Database
from shared.store.sealing import Sealer
from shared.telemetry import logs
from shared.workspaces import registry as kinds
from shared.workspaces import signed
from shared.workspaces.remote import RemoteFiles
from shared.workspaces.room import Bounds
from shared.workspaces.volume import open_volume
from workers import steps
from workers.host import environment, files, walls
from workers.host.egress.policy import held, troubles
from workers.host.host import Host
from workers.host.identity import Identity
from workers.host.inventory import Inventory
from workers.host.orphans import kill_all_marked
from workers.host.places import Places
from workers.host.processes import Warden
from workers.host.pulldesk import PullDesk
from workers.host.streams import Rules
from workers.host.world import World
from workers.maintenance import namesakes
from workers.maintenance.batches import BatchRunner, HeardPublisher
from workers.maintenance.beat import Beat, Ears
from workers.maintenance.clearer import Clearer
from workers.maintenance.membership import Membership
from workers.maintenance.rescuer import Rescuer
from workers.maintenance.sweep import Orders, Sweep, Sweeper
from workers.maintenance.trimmer import Trimmer
from workers.tasks import Bells, add_tasks

log = structlog.get_logger(__name__)

_LOST_STATUS: Final = 70
"""Exit status of a worker that a peer judged lost: its supervisor starts a new incarnation."""

_BROKEN_STATUS: Final = 1

_START_S: Final = 60.0
_BEAT_TIMEOUT_S: Final = 2.0
_TELL_S: Final = 1.0
_CELERY_S: Final = 5.0
"""How long Celery may take to end when nothing is hosted any more: it reads from a Redis that may be silent."""


class WorkerProcess:
    """The host's side of this process: what Celery's bootsteps start and stop. One per process."""

    def __init__(
        self, settings: Settings, who: Identity, publisher: Publisher, batches: BatchRunner, gate: steps.Gate
    ) -> None:
        self._settings = settings
        self._who = who
        self._publisher = publisher
        self._batches = batches
        self._gate = gate
        capacity = settings.worker.capacity
        self._membership = Membership(who.database, who.incarnation, who.name, who.volume.id, capacity, who.earlier)
        self._host = Host(self._world(), on_room=lambda _: self._has_room())
        self._loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._is_draining = False
        self._address = ""
        self._thread = threading.Thread(target=self._serve, name="host", daemon=True)
        self._watches = ExitStack()
        self._beat: Beat | None = None
        # Of all queues this one may be put into by a signal handler that interrupted a put.
        self._asked_to_stop: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._left = threading.Event()
        self._leaving = threading.Thread(target=self._leave_when_asked, name="leave", daemon=True)
        self._is_lost = False
        self._is_broken = False

    # --- what Celery calls ---

    @property
    def status(self) -> int:
        """The exit status this process deserves so far."""
        if self._is_lost:
            return _LOST_STATUS
        return _BROKEN_STATUS if self._is_broken else 0

    def start(self) -> None:
        """Host sessions: listen, register, take over what an earlier life left, begin to beat and to sweep."""
        self._thread.start()
        try:
            self._started.result(timeout=_START_S)
        except CorralError as problem:
            log.error("worker.refused", problem=problem.message)  # noqa: TRY400 - the environment's fault, not ours
            self._is_broken = True
            raise SystemExit(_BROKEN_STATUS) from problem
        self._leaving.start()

    def ask_to_stop(self) -> None:
        """Begin to drain. From any thread or signal handler; idempotent."""
        self._asked_to_stop.put(None)

    def stop(self) -> None:
        """Drain; returns when no agent is left and the row is gone."""
        self.ask_to_stop()
        if self._leaving.is_alive():
            self._left.wait()

    def bells(self) -> Bells:
        """Who answers the doorbells."""
        return Bells(
            is_hosted=lambda session: session in self._host.hosted,
            has_room=self._has_room,
            look=self._host.look,
            offer=self._host.offer,
            batch=lambda _: self._batches.look(),
        )

    # --- the host's thread ---

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._run())
            except BaseException as problem:
                if not self._started.done():
                    self._started.set_exception(problem)
                    return
                log.critical("host.died", exc_info=problem)
                self._is_broken = True
                self._die()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            worker = self._settings.worker
            places = Places(self._who.database, self._who.sealer, self._who.volume, kinds.KINDS)
            key = signed.key_of(str(self._settings.core.secret_key))
            app = files.make_app(
                key=key,
                locate=places.find,
                remove=places.remove,
                readiness=self._readiness,
                metrics=prometheus_client.generate_latest,
                rules=self._rules(),
            )
            PullDesk(key, places.work, self._who.volume).join(app)
            port = await stack.enter_async_context(
                files.serving(app, host=worker.internal_host, port=worker.internal_port)
            )
            self._address = worker.internal_address or f"{files.reachable(worker.internal_host)}:{port}"
            await self._host.run(self._begin)

    def _begin(self) -> None:
        """Called on the loop once the host can take sessions; the rest blocks, so a thread does it."""
        threading.Thread(target=self._join_fleet, name="join", daemon=True).start()

    def _join_fleet(self) -> None:
        try:
            self._membership.join(self._address)
            rescuer = self._rescuer()
            # The beat first: to take over many sessions takes longer than peers would wait for one.
            self._watch(rescuer)
            rescuer.rescue_left_by(self._who.name, self._who.earlier)
        except BaseException as problem:  # noqa: BLE001 - handed to whoever waits for the start
            self._started.set_exception(problem)
            return
        self._started.set_result(None)
        inventory = Inventory(
            DRIVERS.values(),
            self._settings.agent_commands,
            environment.given(self._settings.environ, self._settings.child_env),
            self._membership.tell_agents,
            self._host.offer,
        )
        threading.Thread(target=inventory.keep, args=(self._left,), name="agents", daemon=True).start()

    def _watch(self, rescuer: Rescuer) -> None:
        times = self._settings.times
        beats = Database(self._settings.core.database_url, pool_size=1, timeout_s=_BEAT_TIMEOUT_S)
        self._watches.callback(beats.close)
        ears = Ears(on_beat=self._host.beat, on_return=self._host.thaw, on_lost=self._lost)
        self._beat = self._watches.enter_context(
            Beat(beats, self._who.incarnation, ears, beat_s=times.beat_s, freeze_s=times.freeze_s)
        )
        sweeper = Sweeper(
            database=self._who.database,
            me=self._who.incarnation,
            volume_id=self._who.volume.id,
            orders=Orders(
                look=self._host.look,
                offer=self._host.offer,
                has_room=self._has_room,
                hosted=lambda: self._host.epochs,
                let_go=self._host.let_go,
                batches=self._batches.look,
            ),
            rescuer=rescuer,
            front=Front(self._who.database, self._publisher.committed),
            observer=LapseObserver(lapse_s=times.lapse_s, gap_s=3 * times.sweep_s + times.beat_s),
        )
        self._watches.enter_context(self._batches)
        self._watches.enter_context(Sweep(sweeper, times.sweep_s))
        keep_days = self._settings.core.retention_days
        self._watches.enter_context(Trimmer(self._who.database, keep_days=keep_days))
        self._watches.enter_context(Clearer(self._who.database, self._who.volume, keep_days=keep_days))

    def _has_room(self) -> bool:
        """Whether another session could be taken in. The gate follows; the sweep asks too, since time makes room."""
        has_room = self._host.has_room and not self._is_draining
        self._gate.set(has_room=has_room)
        return has_room

    def _rescuer(self) -> Rescuer:
        return Rescuer(
            database=self._who.database,
            me=self._who.incarnation,
            kill_leftovers=kill_all_marked,
            committed=self._publisher.committed,
            patience_s=self._settings.times.lapse_s,
        )

    # --- its end ---

    def _lost(self) -> None:
        self._is_lost = True
        self._host.surrender(self._host.hosted)
        self._die()

    def _die(self) -> None:
        """End this process the orderly way: Celery's own handler stops the bootsteps."""
        os.kill(os.getpid(), signal.SIGTERM)

    def _leave_when_asked(self) -> None:
        self._asked_to_stop.get()
        self._is_draining = True
        try:
            self._leave()
        except Exception:
            log.exception("leave.failed")
            self._is_broken = True
        self._left.set()
        # This thread ends with the process: what comes now is the last resort.
        threading.Event().wait(_CELERY_S)
        log.warning("worker.cut_off", after_s=_CELERY_S)
        os._exit(self.status)

    def _leave(self) -> None:
        # Beside it: a database that does not answer must not use up the grace.
        threading.Thread(target=self._membership.say_draining, name="draining", daemon=True).start()
        self._on_loop(self._host.drain(self._settings.worker.drain_s))
        self._watches.close()
        self._thread.join()
        self._membership.leave()

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` on the host's loop and wait; forgotten where the host has died."""
        try:
            running = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            return
        while self._thread.is_alive() and not running.done():
            wait([running], timeout=_TELL_S)

    # --- what it is made of ---

    def _world(self) -> World:
        worker, times = self._settings.worker, self._settings.times

        async def start_warden(
            on_frozen: Callable[[frozenset[SessionId]], None], on_lost: Callable[[], None]
        ) -> Warden:
            return await Warden.start(
                freeze_s=times.freeze_s,
                on_frozen=on_frozen,
                on_lost=on_lost,
                line_limit=worker.line_limit,
                line_total=worker.line_total,
            )

        return World(
            database=self._who.database,
            sealer=self._who.sealer,
            publisher=self._publisher,
            volume=self._who.volume,
            kinds=kinds.KINDS,
            drivers=DRIVERS,
            commands=self._settings.agent_commands,
            times=times,
            agent_start_s=self._settings.limits.agent_start_s,
            incarnation=self._who.incarnation,
            name=self._who.name,
            capacity=worker.capacity,
            start_warden=start_warden,
            environ=self._settings.environ,
            child_env=self._settings.child_env,
            allow_bypass=worker.allow_bypass,
            attach_folders=tuple(Path(folder).expanduser() for folder in worker.attach_folders),
            prices=self._settings.usage.prices,
            egress=held(self._settings, self._who.volume.walls),
        )

    def _rules(self) -> Rules:
        named = self._settings.files
        return Rules(Bounds(named.disk_free, named.workspace_bytes), named.archive_limit, self._who.volume.walls)

    def _readiness(self) -> files.Readiness:
        missing = [] if self._started.done() and not self._started.exception() else ["host"]
        warnings = ["draining"] if self._is_draining else []
        warnings += troubles(self._settings, self._who.volume.walls)
        if self._beat is not None and self._beat.age_s >= self._settings.times.freeze_s:
            warnings.append("The database has taken no beat for a while: agents are frozen.")
        warnings += walls.troubles(self._who.volume.walls)
        return files.Readiness(missing=missing, warnings=warnings)


def _context(settings: Settings, who: Identity, publisher: Publisher, bell: Bell) -> Context:
    """What operations are handed that a worker carries out for batches."""
    named = settings.limits
    return Context(
        db=who.database,
        sealer=who.sealer,
        publisher=publisher,
        bell=bell,
        limits=Limits(idle_s=named.idle_s, lifetime_s=named.lifetime_s, turn_s=named.turn_s, start_s=named.start_s),
        queue_limit=named.queue,
        allow_bypass=settings.worker.allow_bypass,
        finds_transcripts=bool(settings.worker.attach_folders),
        holds_domains=settings.egress.is_listed,
        agents={name: driver.abilities for name, driver in DRIVERS.items()},
        kinds=kinds.KINDS,
        files=RemoteFiles(signed.key_of(str(settings.core.secret_key))),
        folders=who.volume.allowed_roots,
        webhook_rules=AddressRules.read(settings.delivery.allow, settings.delivery.ports),
        models=settings.agent_models,
    )


def _said(settings: Settings) -> walls.Said:
    worker, given = settings.worker, environment.given(settings.environ, settings.child_env)
    return walls.Said(worker.sandbox, worker.sandbox_read, settings.agent_commands, given, settings.core.database_url)


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM; the exit status (70: a peer judged it lost, 1: it failed; start it again)."""
    logs.set_up(process="worker", level=settings.core.log_level, form=settings.core.log_format)
    name = settings.worker.name or socket.gethostname()
    root = Path(settings.worker.volume or "~/.corral/workspaces").expanduser()
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    volume = open_volume(root, [Path(folder).expanduser() for folder in settings.worker.allowed_folders])
    database = Database(settings.core.database_url)
    me = mint_incarnation()
    earlier = namesakes.silent(database, name, me, beat_s=settings.times.beat_s)
    volume = replace(walls.put_up(_said(settings), volume), git=settings.git.rules())
    who = Identity(me, name, earlier, volume, database, Sealer(str(settings.core.secret_key)))
    gate = steps.Gate()
    with HeardPublisher(settings.core.redis_url) as publisher, Bell(settings.core.redis_url) as bell:
        batches = BatchRunner(_context(settings, who, publisher, bell))
        publisher.hear = batches.hear
        process = WorkerProcess(settings, who, publisher, batches, gate)
        app = make_app(settings.core.redis_url)
        add_tasks(app, process.bells())
        steps.add_steps(app, process, gate)
        log.info("worker.starting", worker=name, incarnation=who.incarnation, volume=volume.id)
        status = steps.run(app, name, settings.worker.threads, ask_to_stop=process.ask_to_stop)
    database.close()
    return process.status or status
