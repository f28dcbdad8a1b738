"""What a setting is: its variable, default, meaning and parser, kept in the metadata of a dataclass field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, TypeVar

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


def setting(name: str, default: T, about: str, parse: Callable[[str], Any]) -> T:
    """A field of a group of settings."""
    made: T = field(default=default, metadata={"name": name, "about": about, "parse": parse})
    return made


def secret_key(value: str) -> Secret:
    """A text long enough to keep secrets with.

    Raises:
        ValueError: it is too short.
    """
    if len(value) < LEAST_SECRET_KEY:
        msg = f"it has {len(value)} characters and needs at least {LEAST_SECRET_KEY}"
        raise ValueError(msg)
    return Secret(value)
