"""A plan of Codex as an ask. Codex proposes one and ends its turn; nothing of it waits, so the ask is ours."""

from __future__ import annotations

from shared.domain.ask import Answer, PlanAnswer
from shared.domain.session import Mode

APPROVED = "Implement the plan."
"""What Codex's own terminal says then, too."""
REJECTED = "The plan was not approved."


def ref_of(item: str) -> str:
    """The name of the ask about the plan of this item; no request of Codex has one like it."""
    return f"plan {item}"


def verdict(answer: Answer) -> tuple[bool, str]:
    """Whether the plan is approved, and what Codex is told."""
    if isinstance(answer, PlanAnswer) and answer.approve:
        return True, APPROVED
    feedback = answer.feedback if isinstance(answer, PlanAnswer) else None
    return False, f"{REJECTED} {feedback or 'Propose another one.'}"


def mode_after(answer: Answer, *, allow_bypass: bool) -> Mode:
    """How freely the approved plan is carried out."""
    wished = (answer.next_mode if isinstance(answer, PlanAnswer) else None) or Mode.INTERACTIVE
    return Mode.INTERACTIVE if wished is Mode.BYPASS and not allow_bypass else wished
