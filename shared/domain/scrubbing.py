"""Finds secrets in texts and JSON values and masks them. Pure, and linear in the length of what it reads.

It knows the shapes that tokens have and the names that people give to secrets; what has neither stays as it is. So it
lessens what is kept by accident and is no wall.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared.domain.errors import InvalidField
from shared.domain.json import JsonValue

MAX_DEPTH: Final = 64
"""Deeper values are refused: they are no tool's input, and would end the interpreter's stack."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A value without its secrets, and which families of them were in it."""

    value: JsonValue
    families: frozenset[str]


def scrub(value: JsonValue) -> Scrubbed:
    """`value` with every secret found in its texts masked; numbers, names and structure stay.

    A text under a name like `password` is masked whole.

    Raises:
        InvalidField: it is nested deeper than 64 levels.
    """
    found: set[str] = set()
    return Scrubbed(_value(value, found, 0), frozenset(found))


def scrub_text(text: str) -> tuple[str, frozenset[str]]:
    """`text` with every secret in it masked as `[masked:<family>]`, and the families found. Safe to repeat."""
    found: set[str] = set()
    return _text(text, found), frozenset(found)


def _value(value: JsonValue, found: set[str], depth: int) -> JsonValue:
    if depth > MAX_DEPTH:
        raise InvalidField("body", f"is nested deeper than {MAX_DEPTH} levels")
    match value:
        case str():
            return _text(value, found)
        case list():
            return [_value(item, found, depth + 1) for item in value]
        case dict():
            return {name: _entry(name, item, found, depth + 1) for name, item in value.items()}
        case _:
            return value


def _entry(name: str, value: JsonValue, found: set[str], depth: int) -> JsonValue:
    if isinstance(value, str) and len(value) >= _LEAST_NAMED and _SECRET_NAME.search(name):
        found.add("named")
        return _mask("named")
    return _value(value, found, depth)


def _text(text: str, found: set[str]) -> str:
    for rule in _RULES:
        # Most texts hold nothing that even begins like a secret: looking for the beginnings first is ten times faster.
        if any(hint in text for hint in rule.hints):
            text = rule.apply(text, found)
    return _named(_pem(text, found), found)


def _mask(family: str) -> str:
    return f"[masked:{family}]"


# --- tokens that are known by their shape ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """A family of tokens. `hints`: texts one of which is in every token. The pattern's group `secret` is masked."""

    family: str
    hints: Sequence[str]
    pattern: re.Pattern[str]
    looks_real: Callable[[str], bool] = bool

    def apply(self, text: str, found: set[str]) -> str:
        """`text` without the tokens of this family."""

        def masked(match: re.Match[str]) -> str:
            secret = match["secret"]
            if secret.startswith("[masked:") or not self.looks_real(secret):
                return match[0]
            found.add(self.family)
            start, end = match.start("secret") - match.start(), match.end("secret") - match.start()
            return match[0][:start] + _mask(self.family) + match[0][end:]

        return self.pattern.sub(masked, text)


def _has_digit(text: str) -> bool:
    return any("0" <= letter <= "9" for letter in text)


# All repetitions are possessive, and each begins where the one before can no longer go on: whatever the text, no
# character is read more than a few times. A token begins at a word's edge, or a long word would be tried at each of its
# letters; the edge is looked at behind the literal, since a pattern that begins with a literal is searched much faster.
def _at_edge(*literals: str) -> str:
    return "(?:" + "|".join(rf"{literal}(?<![A-Za-z0-9_-]{literal})" for literal in literals) + ")"


def _rule(
    family: str, literals: Sequence[str], rest: str, looks_real: Callable[[str], bool] = bool, *, behind: str = ""
) -> _Rule:
    pattern = rf"(?P<secret>{_at_edge(*map(re.escape, literals))}{rest}){behind}"
    return _Rule(family, literals, re.compile(pattern), looks_real)


_KEYS: Final = ("sk-", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "crl_", "crh_", "hf_", "whsec_")
_GITHUB: Final = ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_")
_SLACK: Final = ("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-")

_RULES: Final = (
    _rule("jwt", ("eyJ",), r"[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+"),
    _rule("api_key", _KEYS, r"[A-Za-z0-9_/+-]{16,}+=?", _has_digit),
    _rule("github", _GITHUB, r"[A-Za-z0-9_]{20,}+"),
    _rule("gitlab", ("glpat-",), r"[A-Za-z0-9_.-]{16,}+"),
    _rule("aws", ("AKIA", "ASIA"), r"[A-Z0-9]{16}", behind=r"(?![A-Za-z0-9])"),
    _rule("google", ("AIza",), r"[A-Za-z0-9_-]{35}"),
    _rule("slack", _SLACK, r"[A-Za-z0-9-]{10,}+", _has_digit),
    _rule("registry", ("npm_", "pypi-", "dckr_pat_"), r"[A-Za-z0-9_-]{24,}+", _has_digit),
    _rule("sendgrid", ("SG.",), r"[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+"),
    _Rule(
        "authorization",
        ("earer ", "EARER "),
        re.compile(r"[Bb](?:earer|EARER) {1,4}+(?P<secret>[A-Za-z0-9._~+/-]{12,}+={0,2}+)"),
        _has_digit,
    ),
    _Rule(
        "authorization",
        ("asic ",),
        re.compile(r"uthorization\W{1,4}+[Bb]asic {1,4}+(?P<secret>[A-Za-z0-9+/]{6,}+={0,2}+)"),
    ),
    # The password of an address; user and host stay, so that a reader still sees what was spoken to.
    _Rule(
        "url_password",
        ("://",),
        re.compile(r"://[^\s:/?#@\"'<>]{0,256}+:(?P<secret>[^\s/?#@\"'<>]{1,1024}+)@"),
    ),
)


# --- private keys ---------------------------------------------------------------------------------------------

_BEGIN: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")
_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")


def _pem(text: str, found: set[str]) -> str:
    if "PRIVATE KEY" not in text:
        return text
    kept: list[str] = []
    place = 0
    while (begin := _BEGIN.search(text, place)) is not None:
        found.add("private_key")
        kept += [text[place : begin.start()], _mask("private_key")]
        end = _END.search(text, begin.end())
        # A key that is cut off is a key still.
        place = end.end() if end else len(text)
    return "".join([*kept, text[place:]])


# --- what is called a secret ----------------------------------------------------------------------------------

_LEAST_NAMED: Final = 4
_WORDS: Final = ("secret", "token", "passwd", "password", "passphrase", "credential", "credentials")
_KEYS_OF: Final = ("api", "access", "private", "secret", "signing", "encryption", "account", "auth")
_SECRET_NAME: Final = re.compile(rf"(?:{'|'.join(_WORDS)}|(?:{'|'.join(_KEYS_OF)})[_-]?key)\Z", re.IGNORECASE)
# NAME=value, "name": "value", name = 'value'. What stands before the name's last word does not matter.
_ASSIGNED: Final = (
    r"(?P<sign>\\?[\"']?[ \t]{0,4}+[=:][ \t]{0,4}+)"
    r"(?:(?P<quote>\\?[\"'])(?P<quoted>[^\"'\\\r\n]*+)|(?P<bare>[^\s\"'\\,;&|<>()\[\]{}]++))"
)
_KEY_OF_SOMETHING: Final = (
    "(?i:" + "|".join(rf"(?<={word}{joint}key)" for word in _KEYS_OF for joint in ("", "_", "-")) + ")"
)


def _assignments() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Each spelling of each word with its pattern: ignoring the case in one pattern is twenty times slower."""
    for word in (*_WORDS, "key"):
        behind = _KEY_OF_SOMETHING if word == "key" else ""
        for spelling in (word, word.upper(), word.capitalize()):
            yield spelling, re.compile(rf"(?P<name>{spelling}){behind}{_ASSIGNED}")


_ASSIGNMENTS: Final = tuple(_assignments())


def _named(text: str, found: set[str]) -> str:
    for spelling, pattern in _ASSIGNMENTS:
        if spelling in text:
            text = pattern.sub(lambda match: _assignment(match, found), text)
    return text


def _assignment(match: re.Match[str], found: set[str]) -> str:
    quoted, bare = match["quoted"], match["bare"]
    if not (_is_literal(quoted) if quoted is not None else _is_value(match["name"], match["sign"], bare)):
        return match[0]
    found.add("named")
    return f"{match['name']}{match['sign']}{match['quote'] or ''}{_mask('named')}"


def _is_literal(quoted: str) -> bool:
    """Whether a quoted text is a secret itself and not a reference to one."""
    return len(quoted) >= _LEAST_NAMED and not quoted.startswith(("[masked", "$", "{", "<", "%"))


def _is_value(name: str, sign: str, bare: str) -> bool:
    """Whether a bare word is a secret: in `NAME=value` any is, in what may be program text only what looks random."""
    if len(bare) < _LEAST_NAMED or bare.startswith(("[masked", "$", "%", "*", "...")):
        return False
    if name.isupper() and sign == "=":
        return True
    return _has_digit(bare) and len(bare) >= 8 and "." not in bare and not bare.isdigit()
