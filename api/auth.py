"""Who is asking: an API key in the request becomes a caller. Plain functions, used by Flask and by the shell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from shared.domain import clock
from shared.domain.errors import Forbidden, Unauthenticated
from shared.domain.tenant import Caller, Scope
from shared.store import keys
from shared.store.database import Database, DatabaseAway
from shared.store.sealing import Sealer

_REMEMBERED_S = 2.0
"""How long a key that was found is not looked up again: a revoked one works at most this much longer."""
_REMEMBERED_KEYS = 4096
_TOUCH_S = 60.0


def secret_of(headers: Mapping[str, str]) -> str:
    """The key in `Authorization: Bearer …` or `x-api-key`. `headers` has lower-case names.

    Raises:
        Unauthenticated: there is none.
    """
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if key := headers.get("x-api-key", "").strip():
        return key
    raise Unauthenticated("Send your API key as `Authorization: Bearer crl_…` or `x-api-key: crl_…`.")


def demand(caller: Caller, scope: Scope) -> None:
    """Refuse a caller that lacks `scope`.

    Raises:
        Forbidden: the key is valid and lacks it.
    """
    if not caller.may(scope):
        held = ", ".join(sorted(caller.scopes)) or "none"
        raise Forbidden(f"This needs a key with scope {scope}; yours has {held}.", needed=scope, held=held)


class Keyring:
    """Finds the caller behind a key, remembering each for two seconds."""

    def __init__(self, db: Database, sealer: Sealer, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._sealer = sealer
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Caller]] = {}
        self._touched: dict[str, float] = {}

    def caller(self, secret: str) -> Caller:
        """The caller whose key `secret` is.

        Raises:
            Unauthenticated: unknown, revoked or expired: which of them is not told.
            DatabaseAway: it cannot be looked up now.
        """
        moment = self._monotonic()
        known = self._known.get(secret)
        if known and known[0] > moment:
            return known[1]
        found = self._look_up(secret)
        if found is None:
            with self._lock:
                self._known.pop(secret, None)
            raise Unauthenticated("This API key is unknown, revoked or expired.")
        self._remember(secret, found, moment)
        self._touch(found, moment)
        return found

    def forget(self) -> None:
        """Look every key up anew: one was revoked here."""
        with self._lock:
            self._known.clear()

    def _look_up(self, secret: str) -> Caller | None:
        # What cannot be UTF-8 cannot be a key, and no database need hear of it.
        if not secret.isascii() or len(secret) > 200:
            return None
        with self._db.read() as connection:
            return keys.find(connection, secret, self._sealer)

    def _remember(self, secret: str, caller: Caller, moment: float) -> None:
        with self._lock:
            if len(self._known) >= _REMEMBERED_KEYS:
                self._known.clear()
            self._known[secret] = (moment + _REMEMBERED_S, caller)

    def _touch(self, caller: Caller, moment: float) -> None:
        with self._lock:
            if moment - self._touched.get(caller.key, -_TOUCH_S) < _TOUCH_S:
                return
            self._touched[caller.key] = moment
        try:
            with self._db.write() as connection:
                keys.touch(connection, caller.key, clock.now())
        except DatabaseAway:
            # When a key was last used is no reason to refuse the request.
            return
