"""Lists: `limit` and `cursor` in, `{"data", "next_cursor"}` out. Cursors are opaque; the store makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def page(data: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """One page as every list shows it; `next_cursor` None says that nothing follows."""
    return {"data": list(data), "next_cursor": next_cursor}
