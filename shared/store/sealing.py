"""Secrets at rest: sealed texts and keys derived from CORRAL_SECRET_KEY. Hashes of API keys are in `keys.py`."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken

from shared.domain.errors import CorralError

LEAST_KEY = 32
"""Characters a secret key must have."""


class SealBroken(CorralError):
    """A stored secret cannot be opened: it was sealed with another CORRAL_SECRET_KEY, or changed since."""

    code = "seal_broken"

    def __init__(self) -> None:
        super().__init__(
            "A stored secret cannot be read with this CORRAL_SECRET_KEY. Start every process with the key it was "
            "stored with, or set the secret again."
        )


class Sealer:
    """Seals and opens texts, and derives keys for other uses; all from one secret, which it does not keep.

    Raises:
        ValueError: the secret is shorter than 32 characters.
    """

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < LEAST_KEY:
            raise ValueError(f"CORRAL_SECRET_KEY has {len(secret_key)} characters; it needs at least {LEAST_KEY}.")
        # One step of HKDF: what is known of one derived key tells nothing of the secret or of its siblings.
        self._root = hmac.digest(b"corral", secret_key.encode(), hashlib.sha256)
        self._fernet = Fernet(base64.urlsafe_b64encode(self.derive("seal")))

    def __repr__(self) -> str:
        return "Sealer(configured)"

    def seal(self, text: str) -> str:
        """`text` as a token only this secret opens; another token each time, so equal texts do not show."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, token: str) -> str:
        """The text `seal` was given.

        Raises:
            SealBroken: sealed with another secret, or damaged.
        """
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except InvalidToken as problem:
            raise SealBroken from problem

    def derive(self, label: str) -> bytes:
        """The 32-byte key for `label`; the same in every process with the same secret."""
        return hmac.digest(self._root, label.encode(), hashlib.sha256)
