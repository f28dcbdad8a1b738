"""The pictures of `docs/state-machines.md` say what the tables of moves say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import pytest

from shared.domain.ask import ASK_MOVES
from shared.domain.session import SESSION_MOVES
from shared.domain.turn import TURN_MOVES

PAGE = Path(__file__).parents[3] / "docs" / "state-machines.md"


def drawn(heading: str) -> set[tuple[str, str]]:
    picture = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("```\n")[0]
    return {(old, new) for old, new in re.findall(r"(\w+) --> (\w+)", picture)}


@pytest.mark.parametrize(("heading", "moves"), [("Session", SESSION_MOVES), ("Turn", TURN_MOVES), ("Ask", ASK_MOVES)])
def test_the_picture_draws_each_legal_move_and_no_other(
    heading: str, moves: Mapping[StrEnum, frozenset[StrEnum]]
) -> None:
    assert drawn(heading) == {(str(old), str(new)) for old, onward in moves.items() for new in onward}
