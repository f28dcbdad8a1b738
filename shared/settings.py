"""All settings, read once from the environment (and `.env`) into one frozen tree.

`docs/settings.md` is generated from it.

Only composition roots read this; everything else is handed what it needs.
"""

# ruff: noqa: RUF009 - `_setting` is `dataclasses.field` with our metadata.

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from shared.domain import parsing, prices
from shared.domain.prices import PriceTable

T = TypeVar("T")

LEAST_SECRET_KEY = 32
"""Characters CORRAL_SECRET_KEY must have."""


class SettingError(Exception):
    """A setting cannot be read: says its name, what is wrong and how to mend it. Never shows a secret's value."""


class Secret(str):
    """A text that shows itself to nobody: repr and the settings dump say only that it is there."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(configured)" if self else "Secret(empty)"


def _setting(name: str, default: T, about: str, parse: Callable[[str], Any]) -> T:
    made: T = field(default=default, metadata={"name": name, "about": about, "parse": parse})
    return made


def _secret_key(value: str) -> Secret:
    if len(value) < LEAST_SECRET_KEY:
        msg = f"it has {len(value)} characters and needs at least {LEAST_SECRET_KEY}"
        raise ValueError(msg)
    return Secret(value)


@dataclass(frozen=True, slots=True)
class Core:
    """What every process needs."""

    heading: ClassVar[str] = "Core"
    database_url: str = _setting(
        "CORRAL_DATABASE_URL",
        "",
        "SQLAlchemy URL of the store: `sqlite:////path/file.db` or `postgresql://user:pw@host/db`. "
        "`corral up` uses SQLite under `--home` where unset.",
        parsing.url("sqlite:///", "postgresql://", "postgresql+psycopg://"),
    )
    redis_url: str = _setting(
        "CORRAL_REDIS_URL",
        "",
        "Redis 7.0+ or Valkey 7.2+. `corral up` runs an embedded one where unset.",
        parsing.url("redis://", "rediss://", "unix://"),
    )
    secret_key: Secret = _setting(
        "CORRAL_SECRET_KEY",
        Secret(""),
        "At least 32 characters, the same for every process. API key hashes, sealed secrets and the internal HTTP "
        "depend on it; losing it means new keys and new webhook secrets. `corral up` makes one under `--home`.",
        _secret_key,
    )
    log_level: str = _setting(
        "CORRAL_LOG_LEVEL",
        "info",
        "debug, info, warning or error.",
        parsing.one_of("debug", "info", "warning", "error"),
    )
    log_format: str = _setting(
        "CORRAL_LOG_FORMAT", "json", "json (one object a line) or text (for people).", parsing.one_of("json", "text")
    )
    retention_days: float = _setting(
        "CORRAL_RETENTION_DAYS", 30.0, "Ended sessions and delivered deliveries older than this are removed.", float
    )


@dataclass(frozen=True, slots=True)
class Api:
    """The API process."""

    heading: ClassVar[str] = "API"
    host: str = _setting("CORRAL_API_HOST", "127.0.0.1", "Address the API listens on.", str)
    port: int = _setting("CORRAL_API_PORT", 8420, "Port the API listens on.", parsing.port)
    public_url: str = _setting(
        "CORRAL_PUBLIC_URL",
        "",
        "Where callers reach the API; used in links. Derived from host and port where unset.",
        parsing.url("http://", "https://"),
    )
    threads: int = _setting("CORRAL_API_THREADS", 16, "Threads that run the synchronous part.", int)
    body_limit: int = _setting("CORRAL_BODY_LIMIT", 1024 * 1024, "Largest request body, bytes.", int)
    hook_body_limit: int = _setting(
        "CORRAL_HOOK_BODY_LIMIT", 10 * 1024 * 1024, "The same for reports of external agents.", int
    )
    scrub_secrets: bool = _setting(
        "CORRAL_SCRUB_SECRETS", True, "Mask secrets in reports of external agents before they are stored.", parsing.flag
    )
    sse_limit: int = _setting("CORRAL_SSE_LIMIT", 1000, "Event streams one API process serves at once.", int)
    sse_heartbeat_s: float = _setting(
        "CORRAL_SSE_HEARTBEAT_S", 15.0, "Seconds between heartbeats of a quiet stream.", float
    )
    rate_limit: int = _setting(
        "CORRAL_RATE_LIMIT", 6000, "Requests a key may make a minute; 0 switches the limit off.", int
    )
    link_rate_limit: int = _setting(
        "CORRAL_LINK_RATE_LIMIT",
        60,
        "Requests a minute that one link to an ask takes, and that one address may make to links that do not exist; "
        "0 switches the limit off.",
        int,
    )
    metrics_open: bool = _setting(
        "CORRAL_METRICS_OPEN", True, "Serve /metrics without a key. Switch off where the port is public.", parsing.flag
    )
    proxy_hops: int = _setting(
        "CORRAL_PROXY_HOPS", 0, "How many reverse proxies in front may be believed about X-Forwarded-For.", int
    )


@dataclass(frozen=True, slots=True)
class Mcp:
    """MCP, served by the API process at /mcp and /sse."""

    heading: ClassVar[str] = "MCP"
    tools: tuple[str, ...] = _setting(
        "CORRAL_MCP_TOOLS",
        ("corral",),
        "Families of tools (`corral`, `pokeclaw`, `poke`) or single tools that clients see, comma separated; "
        "`none` switches MCP off.",
        parsing.texts,
    )
    agent: str = _setting(
        "CORRAL_MCP_AGENT", "claude", "Agent of a session that an MCP client starts without naming one.", str
    )
    hosts: tuple[str, ...] = _setting(
        "CORRAL_MCP_HOSTS",
        (),
        "Host headers MCP is served under besides localhost and the one of CORRAL_PUBLIC_URL (comma separated; "
        "`name:*` for any port, `*` for every host).",
        parsing.texts,
    )
    origins: tuple[str, ...] = _setting(
        "CORRAL_MCP_ORIGINS",
        (),
        "Origins of pages that may use MCP besides those of localhost (comma separated; `*` for every page).",
        parsing.texts,
    )
    threads: int = _setting("CORRAL_MCP_THREADS", 8, "Threads that run tools.", int)
    streams: int = _setting("CORRAL_MCP_STREAMS", 200, "Streams of the older transport one API process serves.", int)


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker process: the host and its agents."""

    heading: ClassVar[str] = "Worker"
    name: str = _setting(
        "CORRAL_WORKER_NAME",
        "",
        "Stable name of this worker, its queue is wk.<name>. The host name where unset.",
        str,
    )
    capacity: int = _setting("CORRAL_WORKER_CAPACITY", 10, "Sessions this worker may host at once.", int)
    volume: str = _setting(
        "CORRAL_WORKSPACE_ROOT", "", "Folder that holds workspaces; its volume id is kept in it.", str
    )
    allowed_folders: tuple[str, ...] = _setting(
        "CORRAL_ALLOWED_FOLDERS",
        (),
        "Existing folders (comma separated) sessions may be opened on, with all beneath them. "
        "Corral never deletes them.",
        parsing.texts,
    )
    attach_folders: tuple[str, ...] = _setting(
        "CORRAL_ATTACH_FOLDERS",
        (),
        "Folders (comma separated) with transcripts of agents that ran outside of Corral, such as ~/.claude/projects. "
        "Whoever knows a conversation's id may have a session go on with it. The API needs it set as well.",
        parsing.texts,
    )
    internal_host: str = _setting(
        "CORRAL_INTERNAL_HOST",
        "127.0.0.1",
        "Address the worker's internal HTTP (files, probe, metrics) listens on.",
        str,
    )
    internal_port: int = _setting("CORRAL_INTERNAL_PORT", 0, "Its port; 0 takes a free one.", parsing.port)
    internal_address: str = _setting(
        "CORRAL_INTERNAL_ADDRESS", "", "host:port under which the API reaches it; derived where unset.", str
    )
    threads: int = _setting("CORRAL_WORKER_THREADS", 4, "Celery threads; they only ring the host's bell.", int)
    allow_bypass: bool = _setting(
        "CORRAL_ALLOW_BYPASS", False, "Whether sessions may use mode bypass (the agent asks nobody).", parsing.flag
    )
    drain_s: float = _setting(
        "CORRAL_DRAIN_S",
        20.0,
        "After SIGTERM running turns may finish for this long before they are handed over.",
        float,
    )
    line_limit: int = _setting("CORRAL_LINE_LIMIT", 16 * 1024 * 1024, "Longest line of agent output kept, bytes.", int)
    line_total: int = _setting(
        "CORRAL_LINE_TOTAL",
        64 * 1024 * 1024,
        "Bytes of unfinished lines one worker keeps over all its agents.",
        int,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds a session has where its creator sets none."""

    heading: ClassVar[str] = "Session limits"
    idle_s: float = _setting(
        "CORRAL_IDLE_S", 1800.0, "An idle session's process ends after this long; the next prompt resumes it.", float
    )
    lifetime_s: float | None = _setting(
        "CORRAL_LIFETIME_S", None, "A session ends this long after its creation. Empty: never.", parsing.maybe_number
    )
    turn_s: float | None = _setting(
        "CORRAL_TURN_S",
        3600.0,
        "A turn is interrupted after this long (waiting for a human does not count). Empty: never.",
        parsing.maybe_number,
    )
    start_s: float = _setting(
        "CORRAL_START_S", 600.0, "A new session no worker could take within this time ends no_capacity.", float
    )
    agent_start_s: float = _setting(
        "CORRAL_AGENT_START_S",
        60.0,
        "An agent that is not ready within this time is ended; its session fails to start.",
        float,
    )
    heartbeat_s: float | None = _setting(
        "CORRAL_HEARTBEAT_S",
        14400.0,
        "An external session that reports nothing for this long ends heartbeat_lost. Empty: never.",
        parsing.maybe_number,
    )
    queue: int = _setting("CORRAL_QUEUE_LIMIT", 100, "Prompts that may wait in one session's line.", int)


@dataclass(frozen=True, slots=True)
class Times:
    """The clockwork of ownership. Tests run it at a tenth; leave it alone unless you know the database is slow."""

    heading: ClassVar[str] = "Clockwork"
    beat_s: float = _setting("CORRAL_BEAT_S", 2.0, "Seconds between beats of a worker or delivery process.", float)
    freeze_s: float = _setting(
        "CORRAL_FREEZE_S",
        6.0,
        "Without a beat for this long the warden freezes the agents. Below CORRAL_LAPSE_S.",
        float,
    )
    lapse_s: float = _setting(
        "CORRAL_LAPSE_S", 8.0, "A peer whose beat an observer saw unchanged for this long is lost.", float
    )
    sweep_s: float = _setting("CORRAL_SWEEP_S", 1.0, "Seconds between sweeps for facts whose hint was lost.", float)
    stop_s: float = _setting("CORRAL_STOP_S", 5.0, "Seconds between TERM and KILL of an agent's tree.", float)
    interrupt_s: float = _setting(
        "CORRAL_INTERRUPT_S",
        10.0,
        "An agent that has not ended its turn this long after an interrupt is ended.",
        float,
    )
    chunk_s: float = _setting(
        "CORRAL_CHUNK_S", 0.05, "Text chunks that follow each other within this time are joined.", float
    )
    commit_s: float = _setting("CORRAL_COMMIT_S", 0.02, "Least seconds between two commits of the journal.", float)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The webhook delivery worker."""

    heading: ClassVar[str] = "Webhooks"
    allow: tuple[str, ...] = _setting(
        "CORRAL_WEBHOOK_ALLOW",
        (),
        "CIDRs (comma separated) a webhook may reach beyond public addresses. "
        "`corral up` allows loopback, nothing else does.",
        parsing.texts,
    )
    ports: tuple[str, ...] = _setting(
        "CORRAL_WEBHOOK_PORTS",
        ("80", "443"),
        "Ports a webhook may use on public addresses; any on allowed CIDRs.",
        parsing.texts,
    )
    timeout_s: float = _setting(
        "CORRAL_WEBHOOK_TIMEOUT_S", 15.0, "Seconds for one attempt, answer body included.", float
    )
    ladder_s: tuple[str, ...] = _setting(
        "CORRAL_WEBHOOK_RETRY_S",
        ("5", "30", "120", "600", "1800", "3600", "7200", "18000", "36000"),
        "Seconds before each retry (comma separated), each ± 20 %. After the last one the delivery is a dead letter.",
        parsing.texts,
    )
    window_s: float = _setting(
        "CORRAL_WEBHOOK_WINDOW_S", 0.2, "Events that follow within this time share a delivery.", float
    )
    concurrency: int = _setting("CORRAL_WEBHOOK_CONCURRENCY", 10, "Requests in flight to one endpoint at once.", int)
    lane_limit: int = _setting("CORRAL_DELIVERY_LANES", 5000, "Lanes one delivery process holds at once.", int)
    host: str = _setting(
        "CORRAL_DELIVERY_HOST", "127.0.0.1", "Address of the delivery worker's probe and metrics.", str
    )
    port: int = _setting(
        "CORRAL_DELIVERY_PORT", 0, "Port of the delivery worker's probe and metrics; 0 takes a free one.", parsing.port
    )
    scale: float = _setting(
        "CORRAL_WEBHOOK_TIME_SCALE", 1.0, "Multiplies the retry ladder; for rehearsals of an outage.", float
    )


def _prices(value: str) -> PriceTable:
    if value.lstrip().startswith("{"):
        return prices.parse(value)
    try:
        text = Path(value).expanduser().read_text(encoding="utf-8")
    except OSError as problem:
        msg = f"the file cannot be read: {problem.strerror}"
        raise ValueError(msg) from problem
    return prices.parse(text)


@dataclass(frozen=True, slots=True)
class Usage:
    """What turns cost."""

    heading: ClassVar[str] = "Usage"
    prices: PriceTable = _setting(
        "CORRAL_PRICES",
        PriceTable(),
        "Prices for agents that tell only tokens: a JSON or TOML file, or the JSON itself. US dollars for a million "
        'tokens by pattern of the model, the first that fits: `{"gpt-5*": {"input": 1.25, "output": 10}}`; '
        "`cache_read` and `cache_write` where they differ from `input`.",
        _prices,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The tree."""

    core: Core
    api: Api
    mcp: Mcp
    worker: Worker
    limits: Limits
    times: Times
    delivery: Delivery
    usage: Usage
    agent_commands: Mapping[str, str]
    """`CORRAL_<AGENT>_COMMAND`, by lower-case agent name."""
    agent_models: Mapping[str, tuple[str, ...]]
    """`CORRAL_<AGENT>_MODELS`, by lower-case agent name: patterns of models that may be asked for."""
    child_env: Mapping[str, str]
    """`CHILD_ENV_X=v` as `X: v`: what agents get beyond the allow-list."""
    environ: Mapping[str, str]
    """The whole environment this was read from; agents get an allow-list of it."""

    def __repr__(self) -> str:
        return f"Settings(core={self.core!r}, api={self.api!r}, worker={self.worker!r})"


GROUPS: Mapping[str, type[Any]] = {
    "core": Core,
    "api": Api,
    "mcp": Mcp,
    "worker": Worker,
    "limits": Limits,
    "times": Times,
    "delivery": Delivery,
    "usage": Usage,
}


def _read_group(group: type[T], environ: Mapping[str, str]) -> T:
    values: dict[str, object] = {}
    for entry in dataclasses.fields(group):  # type: ignore[arg-type]
        name = entry.metadata["name"]
        raw = environ.get(name)
        if raw is None or (raw == "" and entry.default not in (None, ())):
            continue
        try:
            values[entry.name] = entry.metadata["parse"](raw)
        except ValueError as problem:
            # A URL may carry a password.
            shown = "its value" if entry.default.__class__ is Secret or name.endswith("_URL") else repr(raw)
            msg = f"{name}: {shown} cannot be {_use_of(group, entry.name)} ({problem})."
            raise SettingError(msg) from problem
    return group(**values)


def _use_of(group: type[Any], name: str) -> str:
    hint = get_type_hints(group)[name]
    return {str: "used", Secret: "used", bool: "used", PriceTable: "used", int: "read as a whole number"}.get(
        hint, "read as a number"
    )


def read(environ: Mapping[str, str] | None = None, *, dotenv: Path | None = None) -> Settings:
    """The settings of `environ` (the process's own where None); what it lacks is looked up in `dotenv`.

    Raises:
        SettingError: a value cannot be read.
    """
    merged = {**(read_dotenv(dotenv) if dotenv else {}), **(os.environ if environ is None else environ)}
    groups = {name: _read_group(group, merged) for name, group in GROUPS.items()}
    commands = _by_agent(merged, "COMMAND")
    models = {agent: parsing.texts(value) for agent, value in _by_agent(merged, "MODELS").items()}
    child = {name.removeprefix("CHILD_ENV_"): value for name, value in merged.items() if name.startswith("CHILD_ENV_")}
    return Settings(**groups, agent_commands=commands, agent_models=models, child_env=child, environ=merged)


def _by_agent(environ: Mapping[str, str], what: str) -> dict[str, str]:
    """What is set as `CORRAL_<AGENT>_<what>`, by lower-case agent name."""
    return {
        name.removeprefix("CORRAL_").removesuffix(f"_{what}").lower(): value
        for name, value in environ.items()
        if name.startswith("CORRAL_") and name.endswith(f"_{what}") and value
    }


def read_dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; quotes around a value are taken off, `#` lines are comments."""
    if not path.is_file():
        return {}
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name and not name.startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values
