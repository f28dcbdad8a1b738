"""Every metric: its name, kind, unit, meaning, and what to do when it looks wrong.

`docs/metrics.md` is generated from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

Metric = TypeVar("Metric", Counter, Gauge, Histogram)

ADVICE: dict[str, str] = {}
"""What to do about each metric, by its name."""


def _advised(metric: Metric, advice: str) -> Metric:
    ADVICE[metric._name] = advice  # noqa: SLF001 - prometheus_client offers no public name
    return metric


def counter(name: str, meaning: str, advice: str, labels: Sequence[str] = ()) -> Counter:
    """A number that only grows."""
    return _advised(Counter(name, meaning, labels), advice)


def gauge(name: str, meaning: str, advice: str, labels: Sequence[str] = ()) -> Gauge:
    """A number that goes up and down."""
    return _advised(Gauge(name, meaning, labels), advice)


def histogram(name: str, meaning: str, advice: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
    """Durations in seconds, or sizes."""
    return _advised(Histogram(name, meaning, labels, buckets=tuple(buckets)), advice)


PUBLISH_DROPPED = counter(
    "corral_publish_dropped_events",
    "Committed events whose live hint was dropped because Redis was slow or away.",
    "Look at Redis. Nothing is lost; readers see these events up to two seconds late.",
)
DOORBELLS = counter(
    "corral_doorbells",
    "Doorbells by outcome: rung, lost (Redis away), dropped (too many waiting).",
    "Lost ones are found by the sweep; if they grow, look at Redis.",
    ("outcome",),
)
DOORBELLS_HEARD = counter(
    "corral_doorbells_heard",
    "Doorbells this worker heard, by queue: start, own.",
    "Standing still while corral_doorbells rung grows: no worker consumes, and sessions start with the sweep only.",
    ("queue",),
)
WORKERS_LOST = counter(
    "corral_workers_lost",
    "Peers this worker judged lost and took over.",
    "Each is a crash, a stopped process or a partition: look at that worker's last log lines.",
)
SESSIONS_RESCUED = counter(
    "corral_sessions_rescued",
    "Sessions taken over from lost workers.",
    "Their running turns ended interrupted, or were repeated where on_worker_loss says so.",
)
SWEEPS = counter(
    "corral_sweeps",
    "Rounds of the sweep by outcome: done, failed.",
    "A failed round is made up by the next; if they go on failing, look at the database.",
    ("outcome",),
)

DELIVERY_BEAT = gauge(
    "corral_delivery_beat_timestamp_seconds",
    "When this delivery process last wrote its beat.",
    "Older than CORRAL_FREEZE_S: it posts nothing. Look at the database.",
)
DELIVERY_LANES = gauge(
    "corral_delivery_lanes",
    "Lanes this delivery process holds.",
    "At CORRAL_DELIVERY_LANES: start another delivery process.",
)
DELIVERY_ATTEMPTS = counter(
    "corral_delivery_attempts",
    "Webhook attempts by outcome: delivered, answered (not 2xx), timed_out, unreachable, refused.",
    "A rise of anything but delivered: see the deliveries of the endpoints concerned.",
    ("outcome",),
)
DELIVERY_ATTEMPT_SECONDS = histogram(
    "corral_delivery_attempt_seconds",
    "Time of one webhook attempt, the receiver's answer included.",
    "Long ones are slow receivers; they hold up nobody but themselves.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)
DELIVERY_LAG_SECONDS = histogram(
    "corral_delivery_lag_seconds",
    "From the first event of a delivery to its receiver's 2xx.",
    "Beside a healthy receiver above 0.3 s at the 99th percentile: the process is short of CPU, or Redis is away.",
    (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 15, 60, 600, 3600, 36000),
)
DELIVERY_EVENTS = counter(
    "corral_delivery_events", "Events delivered by webhook.", "Compare with what the sessions write."
)
DELIVERY_DEAD = counter(
    "corral_delivery_dead",
    "Deliveries given up, by reason.",
    "See the deliveries with status dead; POST /v1/webhooks/{id}/replay with dead_only sends them again.",
    ("reason",),
)
DELIVERY_DISABLED = counter(
    "corral_delivery_disabled",
    "Endpoints disabled because they answered 410 or failed for five days.",
    "Tell their owner; enabled again they go on where they stopped.",
    ("reason",),
)
EVENTS_COMMITTED = counter(
    "corral_events_committed",
    "Events of hosted sessions that were committed by this worker.",
    "What the agents say. A worker whose count stands still while its sessions run: look at the database.",
)
EVENTS_UNSTORABLE = counter(
    "corral_events_unstorable",
    "Events the store refused; an error event stands in their place.",
    "A fault of a driver or the store: look for journal.unstorable in the log.",
)
COMMIT_SECONDS = histogram(
    "corral_commit_seconds",
    "Seconds one group commit of the journal took, waits for locks included.",
    "Above 0.1 at the 99th percentile: the disk is slow, or SQLite has too many writers.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
JOURNAL_RETRIES = counter(
    "corral_journal_retries",
    "Commits repeated because the database was away.",
    "Nothing is lost; agents are held up meanwhile. Look at the database.",
)
JOURNAL_WAITING = gauge(
    "corral_journal_waiting_events",
    "Events of hosted sessions that are not committed yet.",
    "Near 4000: agents print faster than the database stores, and are held up.",
)
JOURNAL_HOLDS = counter(
    "corral_journal_holds",
    "How often an agent's output was left in its pipe because too much waited to be committed.",
    "Normal for an agent that floods; steady growth means the database is too slow for the load.",
)
SANDBOX = gauge(
    "corral_sandbox",
    "1 at the walls this worker puts its agents behind: bubblewrap, landlock or none.",
    "At none: look for walls.none in its log; docs/security.md says what to install.",
    ("walls",),
)
SESSIONS_HOSTED = gauge(
    "corral_sessions_hosted",
    "Sessions this worker hosts now, idle ones too.",
    "At the capacity for long: add workers, or raise CORRAL_WORKER_CAPACITY.",
)
SESSIONS_SURRENDERED = counter(
    "corral_sessions_surrendered",
    "Hosted sessions found to be somebody else's: their agents were killed and nothing was written.",
    "Each follows a pause of this worker or of the database longer than CORRAL_LAPSE_S.",
)
SESSIONS_CRASHED = counter(
    "corral_sessions_crashed",
    "Hosted sessions whose task failed by a fault of ours; their turn ended failed.",
    "Always a bug: look for session.crashed in the log.",
)
TURNS_ENDED = counter(
    "corral_turns_ended",
    "Turns that ended on this worker, by status and stop reason.",
    "Many failed ones of one reason: look for turn.ended in the log.",
    ("status", "stop_reason"),
)
TURN_TOKENS = counter(
    "corral_turn_tokens",
    "Tokens of turns that ended on this worker, by agent and kind: input, output, cache_read, cache_write.",
    "GET /v1/usage tells whose they were. Much input beside little cache_read: prompts are not cached.",
    ("agent", "kind"),
)
TURN_COST = counter(
    "corral_turn_cost_usd",
    "US dollars of turns that ended on this worker, by agent and source: agent, price_table.",
    "GET /v1/usage tells whose they were. Standing still while corral_turn_tokens grows: CORRAL_PRICES lacks a model.",
    ("agent", "source"),
)
BUDGET_STOPS = counter(
    "corral_budget_stops",
    "Turns that would have begun beyond a spent budget, by scope (session, tenant_day) and outcome: stopped, asked.",
    "Look at GET /v1/usage and GET /v1/budget of the tenant; raise its budget, or answer its asks.",
    ("scope", "outcome"),
)
AGENT_STARTS = counter(
    "corral_agent_starts",
    "Starts of agent processes by agent and outcome: ready, failed.",
    "Failed ones: agent.start_failed in the log says why.",
    ("agent", "outcome"),
)
AGENT_START_SECONDS = histogram(
    "corral_agent_start_seconds",
    "Seconds from the decision to start an agent until it was ready.",
    "The agent's own start is most of it; a slow one is a slow disk or a busy machine.",
    (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    ("agent",),
)
BATCH_ITEMS = counter(
    "corral_batch_items",
    "Items of batches by outcome: started, succeeded, failed, cancelled.",
    "Many failed ones: GET /v1/batches/{id}/items?status=failed says why.",
    ("outcome",),
)
BATCH_ROUNDS = counter(
    "corral_batch_rounds",
    "Rounds in which this worker advanced batches, by outcome: done, failed.",
    "A failed round is made up by the next; if they go on failing, look for batches.failed in the log.",
    ("outcome",),
)
FILE_BYTES = counter(
    "corral_file_bytes",
    "Bytes of files and archives that went through this worker's internal HTTP, by direction: in, out.",
    "Much of it slows agents on the same disk: see corral_requests by route for who asks.",
    ("direction",),
)
FILE_REFUSALS = counter(
    "corral_file_refusals",
    "Requests for files that this worker refused, by code.",
    "volume_full: make room on the disk. Many not_found or invalid_field: somebody tries paths.",
    ("code",),
)
REPORTS = counter(
    "corral_reports",
    "Reports of external agents by agent, event and outcome: taken, repeated (sent before), refused.",
    "Refused: the session has ended, or the body is no report. Many repeated ones: replies do not reach the agent.",
    ("agent", "event", "outcome"),
)
SECRETS_MASKED = counter(
    "corral_secrets_masked_reports",
    "Reports in which secrets were masked, by family of secret.",
    "Secrets pass through the agent's tools; the people who run it should know.",
    ("family",),
)
REQUESTS = counter(
    "corral_requests",
    "HTTP requests by method, route and status. A request that waits counts once.",
    "A rise of 5xx: look for request.failed in the log; of 429: a key exceeds CORRAL_RATE_LIMIT.",
    ("method", "route", "status"),
)
REQUEST_SECONDS = histogram(
    "corral_request_seconds",
    "Seconds the synchronous part of a request took, without waiting for wait_s.",
    "Above 0.02 at the 99th percentile for prompts: the database is slow, or CORRAL_API_THREADS are too few.",
    (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
    ("route",),
)
STREAMS_OPEN = gauge(
    "corral_streams_open",
    "Event streams this API process serves now.",
    "Near CORRAL_SSE_LIMIT: start another API process.",
)
STREAMS_CUT = counter(
    "corral_streams_cut",
    "Event streams ended by the API, by reason: stalled (took nothing for a minute), full (refused at the limit), "
    "revoked (its key was revoked, or expired).",
    "Stalled ones are slow or lost clients; they go on from their last event when they reconnect.",
    ("reason",),
)
MCP_CALLS = counter(
    "corral_mcp_calls",
    "Calls of MCP tools, by tool and outcome: ok, asked (the human is shown a form), or a problem's code.",
    "Many of one code: a client that misreads a tool, or a key without the scope.",
    ("tool", "outcome"),
)
MCP_CALL_SECONDS = histogram(
    "corral_mcp_call_seconds",
    "Seconds a call of an MCP tool took, its waiting included.",
    "Above 0.05 for tools that do not wait: the database is slow, or CORRAL_MCP_THREADS are too few.",
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0),
    ("tool",),
)
MCP_STREAMS_OPEN = gauge(
    "corral_mcp_streams_open",
    "Streams of the older MCP transport (/sse) this API process serves now.",
    "Near CORRAL_MCP_STREAMS: move clients to /mcp, which keeps nothing open, or start another API process.",
)
WAITS_OPEN = gauge(
    "corral_waits_open",
    "Requests that wait for wait_s now. They hold no thread.",
    "Nothing to do; each costs a few kilobytes.",
)
EGRESS_DECISIONS = counter(
    "corral_egress_decisions",
    "Requests of agents to reach something, by decision: listed, named (a base URL of the operator's), "
    "allowed or denied (by a human), unlisted, unanswered, no_name (an IP address), private, unreachable, malformed.",
    "Much unlisted: look for egress.decided in the log; what many sessions need belongs into CORRAL_ALLOWED_DOMAINS.",
    ("decision",),
)
EGRESS_BYTES = counter(
    "corral_egress_bytes",
    "Bytes that went through the proxies of sessions, by direction: sent, received.",
    "Much sent by one worker may be an agent that carries something away: egress.decided in the log says whereto.",
    ("direction",),
)
EGRESS_CONNECTIONS = gauge(
    "corral_egress_connections",
    "Connections agents have through their proxies right now.",
    "256 of one session is the most; beyond it waits.",
)
