"""Secrets that show who asks: a prefix, 190 random bits and a checksum. Kept as a keyed hash alone."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib

from shared.store.sealing import Sealer

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 32  # 190 bits
_CHECK = 6  # base62 digits that hold a CRC-32
_SHAPE = re.compile(rf"(?P<prefix>[a-z]{{3}})_(?P<body>[0-9A-Za-z]{{{_RANDOM}}})(?P<check>[0-9A-Za-z]{{{_CHECK}}})")


def mint(prefix: str) -> str:
    """A new secret `<prefix>_…`."""
    body = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return f"{prefix}_{body}{_checksum(body)}"


def is_whole(secret: str, prefix: str) -> bool:
    """Whether `secret` has the shape and checksum of one with `prefix`: a mistyped one costs no query."""
    match = _SHAPE.fullmatch(secret)
    return match is not None and match["prefix"] == prefix and match["check"] == _checksum(match["body"])


def digest(secret: str, sealer: Sealer, purpose: str) -> str:
    """What the store keeps and looks up. Keyed: who has only the database can neither test guesses nor plant one.

    Looking it up by an index tells nothing by its time: nobody without the key knows what a guess hashes to.
    """
    return hmac.new(sealer.derive(purpose), secret.encode(), hashlib.sha256).hexdigest()


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        value, digit = divmod(value, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
