"""Counts what turns used, for the metrics."""

from __future__ import annotations

from dataclasses import asdict

from shared.domain.turn import Ending
from shared.domain.usage import to_micro_usd, to_usd
from shared.telemetry import metrics


def count(agent: str, ending: Ending) -> None:
    """Once for each turn that ended."""
    if ending.usage is not None:
        for kind, count in asdict(ending.usage.clipped()).items():
            metrics.TURN_TOKENS.labels(agent=agent, kind=kind.removesuffix("_tokens")).inc(count)
    if ending.cost_usd is not None and ending.cost_source is not None:
        cost = to_usd(to_micro_usd(ending.cost_usd))
        metrics.TURN_COST.labels(agent=agent, source=ending.cost_source.value).inc(cost)
