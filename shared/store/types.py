"""Column types that behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC as UTC_ZONE
from datetime import datetime
from typing import Any

import sqlalchemy as sa


class UTC(sa.TypeDecorator[datetime]):
    """Aware UTC moments. SQLite gives naive texts back; here they become aware again."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive moments; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"naive moment {value!r}"
            raise ValueError(msg)
        moment = value.astimezone(UTC_ZONE)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Aware UTC."""
        _ = dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC_ZONE) if value.tzinfo is None else value.astimezone(UTC_ZONE)


class Json(sa.TypeDecorator[Any]):
    """A JSON value kept as text: the same bytes on both databases, and no NUL trouble of JSONB."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Compact JSON text."""
        _ = dialect
        return None if value is None else json.dumps(value, ensure_ascii=True, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """The parsed value."""
        _ = dialect
        return None if value is None else json.loads(value)
