"""One page for people: what it shows, and the only way it becomes HTML. Everything in it is escaped."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import jinja2

MEDIA_TYPE: Final = "text/html; charset=utf-8"
MAX_WORDS: Final = 64 * 1024
"""Characters of one text a person may write."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a panel; `mark` is add, cut or at where it is one of a change."""

    text: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A text shown exactly as it is."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Option:
    """One of several to choose from."""

    label: str
    about: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its options, and what was chosen when the form comes back."""

    name: str
    text: str
    header: str
    options: Sequence[Option]
    is_many: bool
    chosen: Collection[str] = ()
    written: str = ""

    @property
    def input(self) -> str:
        """The kind of input an option is."""
        return "checkbox" if self.is_many else "radio"


@dataclass(frozen=True, slots=True)
class Form:
    """What can be answered. `yes` are the ways to go on; without one only `no` is left."""

    token: str
    yes: Sequence[Option]
    no: Option
    message: str
    """Beside the text that goes with `no`."""
    written: str = ""
    questions: Sequence[Question] = ()
    modes: Sequence[Option] = ()
    mode: str = ""

    @property
    def action(self) -> str:
        """Where the form goes: its own address, also where a proxy put something before it."""
        return self.token


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    title: str
    heading: str
    where: str = ""
    lines: Sequence[str] = ()
    problem: str = ""
    facts: Sequence[tuple[str, str]] = ()
    panels: Sequence[Panel] = ()
    form: Form | None = None
    end: str = ""

    def html(self) -> str:
        """The whole document."""
        return _template().render(page=self, style=_style(), most=MAX_WORDS)


def policy() -> str:
    """The page's Content-Security-Policy: its own style, forms to its own origin, and nothing else at all."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


_KEPT: Final = frozenset("\n\t")


def visible(text: str) -> str:
    """`text` with every character spelled out that hides, or changes how its neighbours look.

    A command that looks like another one must not be allowed by mistake (CVE-2021-42574).
    """
    return "".join(one if one in _KEPT or _is_plain(one) else f"\\u{{{ord(one):x}}}" for one in text)


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    if unicodedata.category(character) in {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}:
        return False
    # Blanks that look like none, or like the one of the keyboard.
    return character not in {"\u115f", "\u1160", "\u3164", "\uffa0"}


@cache
def _style() -> str:
    return _asset("ask.css")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("ask.html"))


def _asset(name: str) -> str:
    return (resources.files("api") / "static" / name).read_text(encoding="utf-8")
