"""Every setting, in the groups that processes are handed. `docs/settings.md` is generated from them."""

# ruff: noqa: RUF009 - `setting` is `dataclasses.field` with our metadata.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from shared.domain import parsing, prices
from shared.domain.parsing import above_zero, count, count_or_none, pause, pauses
from shared.domain.prices import PriceTable
from shared.settings.entry import Secret, secret_key, setting


@dataclass(frozen=True, slots=True)
class Core:
    """What every process needs."""

    heading: ClassVar[str] = "Core"
    database_url: str = setting(
        "CORRAL_DATABASE_URL",
        "",
        "SQLAlchemy URL of the store: `sqlite:////path/file.db` or `postgresql://user:pw@host/db`. "
        "`corral up` uses SQLite under `--home` where unset.",
        parsing.url("sqlite:///", "postgresql://", "postgresql+psycopg://"),
    )
    redis_url: str = setting(
        "CORRAL_REDIS_URL",
        "",
        "Redis 7.0+ or Valkey 7.2+. `corral up` runs an embedded one where unset.",
        parsing.url("redis://", "rediss://", "unix://"),
    )
    secret_key: Secret = setting(
        "CORRAL_SECRET_KEY",
        Secret(""),
        "At least 32 characters, the same for every process. API key hashes, sealed secrets and the internal HTTP "
        "depend on it; losing it means new keys and new webhook secrets. `corral up` makes one under `--home`.",
        secret_key,
    )
    log_level: str = setting(
        "CORRAL_LOG_LEVEL",
        "info",
        "debug, info, warning or error.",
        parsing.one_of("debug", "info", "warning", "error"),
    )
    log_format: str = setting(
        "CORRAL_LOG_FORMAT", "json", "json (one object a line) or text (for people).", parsing.one_of("json", "text")
    )
    retention_days: float = setting(
        "CORRAL_RETENTION_DAYS",
        30.0,
        "Ended sessions, events of living ones and finished deliveries older than this are removed.",
        parsing.days,
    )


@dataclass(frozen=True, slots=True)
class Api:
    """The API process."""

    heading: ClassVar[str] = "API"
    host: str = setting("CORRAL_API_HOST", "127.0.0.1", "Address the API listens on.", str)
    port: int = setting("CORRAL_API_PORT", 8420, "Port the API listens on.", parsing.port)
    public_url: str = setting(
        "CORRAL_PUBLIC_URL",
        "",
        "Where callers reach the API; used in links. Derived from host and port where unset.",
        parsing.url("http://", "https://"),
    )
    threads: int = setting("CORRAL_API_THREADS", 16, "Threads that run the synchronous part.", count)
    body_limit: int = setting("CORRAL_BODY_LIMIT", 1024 * 1024, "Largest request body, bytes.", count)
    hook_body_limit: int = setting(
        "CORRAL_HOOK_BODY_LIMIT", 10 * 1024 * 1024, "The same for reports of external agents.", count
    )
    scrub_secrets: bool = setting(
        "CORRAL_SCRUB_SECRETS", True, "Mask secrets in reports of external agents before they are stored.", parsing.flag
    )
    sse_limit: int = setting("CORRAL_SSE_LIMIT", 1000, "Event streams one API process serves at once.", count)
    sse_heartbeat_s: float = setting(
        "CORRAL_SSE_HEARTBEAT_S", 15.0, "Seconds between heartbeats of a quiet stream.", above_zero
    )
    rate_limit: int = setting(
        "CORRAL_RATE_LIMIT", 6000, "Requests a key may make a minute; 0 switches the limit off.", count_or_none
    )
    link_rate_limit: int = setting(
        "CORRAL_LINK_RATE_LIMIT",
        60,
        "Requests a minute that one link to an ask takes, and that one address may make to links that do not exist; "
        "0 switches the limit off.",
        count_or_none,
    )
    metrics_open: bool = setting(
        "CORRAL_METRICS_OPEN", True, "Serve /metrics without a key. Switch off where the port is public.", parsing.flag
    )
    proxy_hops: int = setting(
        "CORRAL_PROXY_HOPS",
        0,
        "How many reverse proxies in front may be believed about X-Forwarded-For.",
        count_or_none,
    )


@dataclass(frozen=True, slots=True)
class Mcp:
    """MCP, served by the API process at /mcp and /sse."""

    heading: ClassVar[str] = "MCP"
    tools: tuple[str, ...] = setting(
        "CORRAL_MCP_TOOLS",
        ("corral",),
        "Families of tools (`corral`, `pokeclaw`, `poke`) or single tools that clients see, comma separated; "
        "`none` switches MCP off.",
        parsing.texts,
    )
    agent: str = setting(
        "CORRAL_MCP_AGENT", "claude", "Agent of a session that an MCP client starts without naming one.", str
    )
    hosts: tuple[str, ...] = setting(
        "CORRAL_MCP_HOSTS",
        (),
        "Host headers MCP is served under besides localhost and the one of CORRAL_PUBLIC_URL (comma separated; "
        "`name:*` for any port, `*` for every host).",
        parsing.texts,
    )
    origins: tuple[str, ...] = setting(
        "CORRAL_MCP_ORIGINS",
        (),
        "Origins of pages that may use MCP besides those of localhost (comma separated; `*` for every page).",
        parsing.texts,
    )
    threads: int = setting("CORRAL_MCP_THREADS", 8, "Threads that run tools.", count)
    streams: int = setting("CORRAL_MCP_STREAMS", 200, "Streams of the older transport one API process serves.", count)


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker process: the host and its agents."""

    heading: ClassVar[str] = "Worker"
    name: str = setting(
        "CORRAL_WORKER_NAME", "", "Stable name of this worker, its queue is wk.<name>. The host name where unset.", str
    )
    capacity: int = setting("CORRAL_WORKER_CAPACITY", 10, "Sessions this worker may host at once.", count)
    volume: str = setting(
        "CORRAL_WORKSPACE_ROOT", "", "Folder that holds workspaces; its volume id is kept in it.", str
    )
    allowed_folders: tuple[str, ...] = setting(
        "CORRAL_ALLOWED_FOLDERS",
        (),
        "Existing folders (comma separated) sessions may be opened on, with all beneath them. "
        "Corral never deletes them.",
        parsing.texts,
    )
    attach_folders: tuple[str, ...] = setting(
        "CORRAL_ATTACH_FOLDERS",
        (),
        "Folders (comma separated) with transcripts of agents that ran outside of Corral, such as ~/.claude/projects. "
        "Whoever knows a conversation's id may have a session go on with it. The API needs it set as well.",
        parsing.texts,
    )
    internal_host: str = setting(
        "CORRAL_INTERNAL_HOST",
        "127.0.0.1",
        "Address the worker's internal HTTP (files, probe, metrics) listens on.",
        str,
    )
    internal_port: int = setting("CORRAL_INTERNAL_PORT", 0, "Its port; 0 takes a free one.", parsing.port)
    internal_address: str = setting(
        "CORRAL_INTERNAL_ADDRESS", "", "host:port under which the API reaches it; derived where unset.", str
    )
    threads: int = setting("CORRAL_WORKER_THREADS", 4, "Celery threads; they only ring the host's bell.", count)
    allow_bypass: bool = setting(
        "CORRAL_ALLOW_BYPASS", False, "Whether sessions may use mode bypass (the agent asks nobody).", parsing.flag
    )
    sandbox: str = setting(
        "CORRAL_SANDBOX",
        "auto",
        "Walls around each agent: auto takes the best that stand here (bubblewrap, Landlock, none); with required the "
        "worker does not start where none stand; off puts up none.",
        parsing.one_of("auto", "required", "off"),
    )
    sandbox_read: tuple[str, ...] = setting(
        "CORRAL_SANDBOX_READ",
        (),
        "Files and folders (comma separated) that agents behind walls may read and run besides the system, such as "
        "/opt/jdk or ~/.nvm.",
        parsing.texts,
    )
    drain_s: float = setting(
        "CORRAL_DRAIN_S",
        20.0,
        "After SIGTERM running turns may finish for this long before they are handed over.",
        pause,
    )
    line_limit: int = setting("CORRAL_LINE_LIMIT", 16 * 1024 * 1024, "Longest line of agent output kept, bytes.", count)
    line_total: int = setting(
        "CORRAL_LINE_TOTAL", 64 * 1024 * 1024, "Bytes of unfinished lines one worker keeps over all its agents.", count
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds a session has where its creator sets none."""

    heading: ClassVar[str] = "Session limits"
    idle_s: float = setting(
        "CORRAL_IDLE_S", 1800.0, "An idle session's process ends after this long; the next prompt resumes it.", pause
    )
    lifetime_s: float | None = setting(
        "CORRAL_LIFETIME_S",
        None,
        "A session ends this long after its creation. Empty: never.",
        parsing.maybe_above_zero,
    )
    turn_s: float | None = setting(
        "CORRAL_TURN_S",
        3600.0,
        "A turn is interrupted after this long (waiting for a human does not count). Empty: never.",
        parsing.maybe_above_zero,
    )
    start_s: float = setting(
        "CORRAL_START_S", 600.0, "A new session no worker could take within this time ends no_capacity.", above_zero
    )
    agent_start_s: float = setting(
        "CORRAL_AGENT_START_S",
        60.0,
        "An agent that is not ready within this time is ended; its session fails to start.",
        above_zero,
    )
    heartbeat_s: float | None = setting(
        "CORRAL_HEARTBEAT_S",
        14400.0,
        "An external session that reports nothing for this long ends heartbeat_lost. Empty: never.",
        parsing.maybe_above_zero,
    )
    queue: int = setting("CORRAL_QUEUE_LIMIT", 100, "Prompts that may wait in one session's line.", count)


@dataclass(frozen=True, slots=True)
class Times:
    """The clockwork of ownership. Tests run it at a tenth; leave it alone unless you know the database is slow."""

    heading: ClassVar[str] = "Clockwork"
    beat_s: float = setting("CORRAL_BEAT_S", 2.0, "Seconds between beats of a worker or delivery process.", above_zero)
    freeze_s: float = setting(
        "CORRAL_FREEZE_S",
        6.0,
        "Without a beat for this long the warden freezes the agents. Below CORRAL_LAPSE_S.",
        above_zero,
    )
    lapse_s: float = setting(
        "CORRAL_LAPSE_S", 8.0, "A peer whose beat an observer saw unchanged for this long is lost.", above_zero
    )
    sweep_s: float = setting("CORRAL_SWEEP_S", 1.0, "Seconds between sweeps for facts whose hint was lost.", above_zero)
    stop_s: float = setting("CORRAL_STOP_S", 5.0, "Seconds between TERM and KILL of an agent's tree.", above_zero)
    interrupt_s: float = setting(
        "CORRAL_INTERRUPT_S",
        10.0,
        "An agent that has not ended its turn this long after an interrupt is ended.",
        above_zero,
    )
    chunk_s: float = setting(
        "CORRAL_CHUNK_S", 0.05, "Text chunks that follow each other within this time are joined.", pause
    )
    commit_s: float = setting("CORRAL_COMMIT_S", 0.02, "Least seconds between two commits of the journal.", pause)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The webhook delivery worker."""

    heading: ClassVar[str] = "Webhooks"
    allow: tuple[str, ...] = setting(
        "CORRAL_WEBHOOK_ALLOW",
        (),
        "CIDRs (comma separated) a webhook may reach beyond public addresses. "
        "`corral up` allows loopback, nothing else does.",
        parsing.texts,
    )
    ports: tuple[str, ...] = setting(
        "CORRAL_WEBHOOK_PORTS",
        ("80", "443"),
        "Ports a webhook may use on public addresses; any on allowed CIDRs.",
        parsing.texts,
    )
    timeout_s: float = setting(
        "CORRAL_WEBHOOK_TIMEOUT_S", 15.0, "Seconds for one attempt, answer body included.", above_zero
    )
    ladder_s: tuple[str, ...] = setting(
        "CORRAL_WEBHOOK_RETRY_S",
        ("5", "30", "120", "600", "1800", "3600", "7200", "18000", "36000"),
        "Seconds before each retry (comma separated), each ± 20 %. After the last one the delivery is a dead letter.",
        pauses,
    )
    window_s: float = setting(
        "CORRAL_WEBHOOK_WINDOW_S", 0.2, "Events that follow within this time share a delivery.", pause
    )
    concurrency: int = setting("CORRAL_WEBHOOK_CONCURRENCY", 10, "Requests in flight to one endpoint at once.", count)
    lane_limit: int = setting("CORRAL_DELIVERY_LANES", 5000, "Lanes one delivery process holds at once.", count)
    host: str = setting("CORRAL_DELIVERY_HOST", "127.0.0.1", "Address of the delivery worker's probe and metrics.", str)
    port: int = setting(
        "CORRAL_DELIVERY_PORT", 0, "Port of the delivery worker's probe and metrics; 0 takes a free one.", parsing.port
    )
    scale: float = setting(
        "CORRAL_WEBHOOK_TIME_SCALE", 1.0, "Multiplies the retry ladder; for rehearsals of an outage.", above_zero
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
    prices: PriceTable = setting(
        "CORRAL_PRICES",
        PriceTable(),
        "Prices for agents that tell only tokens: a JSON or TOML file, or the JSON itself. US dollars for a million "
        'tokens by pattern of the model, the first that fits: `{"gpt-5*": {"input": 1.25, "output": 10}}`; '
        "`cache_read` and `cache_write` where they differ from `input`.",
        _prices,
    )
