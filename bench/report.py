"""Writes `bench/results.md`: each figure beside its goal and the raw limit of the same run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import machine


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `raw` is the machine's own limit in the same run, where there is one."""

    scenario: str
    database: str
    what: str
    value: float
    unit: str
    goal: str
    is_met: bool
    raw: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether the goal is none at all: no noise of a machine excuses a lost event."""
        return self.goal == "≤ 0"


@dataclass(frozen=True, slots=True)
class Desk:
    """Takes down the figures of one scenario on one database."""

    scenario: str
    database: str
    figures: list[Figure]

    def at_most(self, what: str, value: float, unit: str, goal: float, *, raw: str = "") -> None:
        """A figure that should be small."""
        self._add(Figure(self.scenario, self.database, what, value, unit, f"≤ {goal:g}", value <= goal, raw))

    def at_least(self, what: str, value: float, unit: str, goal: float, *, raw: str = "") -> None:
        """A figure that should be large."""
        self._add(Figure(self.scenario, self.database, what, value, unit, f"≥ {goal:g}", value >= goal, raw))

    def tell(self, what: str, value: float, unit: str, *, raw: str = "") -> None:
        """A figure without a goal."""
        self._add(Figure(self.scenario, self.database, what, value, unit, "", True, raw))

    def _add(self, figure: Figure) -> None:
        self.figures.append(figure)
        sys.stdout.write(line(figure) + "\n")
        sys.stdout.flush()


def line(figure: Figure) -> str:
    """One row of the table."""
    mark = "" if not figure.goal else "yes" if figure.is_met else "**no**"
    cells = (
        figure.scenario,
        figure.database,
        figure.what,
        f"{figure.value:,.4g} {figure.unit}" if figure.value < 1000 else f"{figure.value:,.0f} {figure.unit}",
        f"{figure.goal} {figure.unit}" if figure.goal else "",
        mark,
        figure.raw,
    )
    return f"| {' | '.join(cells)} |"


def write(path: Path, figures: Sequence[Figure], command: str) -> None:
    """Write the page."""
    head = [
        "# Measured",
        "",
        f"Commit {machine.commit()}, {datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC, `{command}`, {machine.described()}.",
        "Agents, readers, receivers and databases share these cores with Corral. This page is written by the bench.",
        "",
        "| scenario | database | what | measured | goal | met | raw limit in the same run |",
        "|---|---|---|---|---|---|---|",
    ]
    path.write_text("\n".join([*head, *(line(figure) for figure in figures)]) + "\n", encoding="utf-8")
