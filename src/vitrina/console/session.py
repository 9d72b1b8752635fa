"""Who is signed in, and which form was ours: signed cookies, no state on the server.

A session cookie names a user and a moment; it ends after twelve hours, when the user changes, or with another secret. A
form carries a code that belongs to a cookie only this site can set or read (double submit, HMAC-bound).
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable

import msgspec

from vitrina.core.clock import HOUR, SECOND, Clock, Micros

__all__ = ["CSRF_COOKIE", "LIFETIME", "SESSION_COOKIE", "Attempts", "Sessions"]

SESSION_COOKIE = "vitrina_session"
CSRF_COOKIE = "vitrina_form"
LIFETIME = 12 * HOUR
"""How long a session lasts, microseconds."""


class _Session(msgspec.Struct, frozen=True, array_like=True):
    user: str
    since: Micros


class Sessions:
    """Signs and reads cookies with the workspace's session secret."""

    def __init__(self, secret: Callable[[], bytes], clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def issue(self, user_id: str) -> str:
        """The cookie of a user who has just signed in."""
        body = urlsafe_b64encode(msgspec.msgpack.encode(_Session(user_id, self._clock.now())))
        return f"{body.decode()}.{self._sign('session', body)}"

    def read(self, cookie: str) -> tuple[str, Micros] | None:
        """User id and moment of signing in; None when the cookie is not ours or has run out."""
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(self._sign("session", body.encode()).encode(), signature.encode()):
            return None
        try:
            session = msgspec.msgpack.decode(urlsafe_b64decode(body), type=_Session)
        except (NotBase64, ValueError, msgspec.DecodeError):
            return None
        age = self._clock.now() - session.since
        return (session.user, session.since) if 0 <= age < LIFETIME else None

    def new_form(self) -> str:
        """A fresh value of the form cookie."""
        return secrets.token_urlsafe(24)

    def form_code(self, form_cookie: str) -> str:
        """The code that a form made under this cookie carries."""
        return self._sign("form", form_cookie.encode())

    def is_our_form(self, form_cookie: str, code: str) -> bool:
        """Whether the code in a posted form belongs to its cookie."""
        return bool(form_cookie) and hmac.compare_digest(self.form_code(form_cookie).encode(), code.encode())

    def _sign(self, use: str, body: bytes) -> str:
        return hmac.digest(self._secret(), use.encode() + b":" + body, "sha256").hex()


class Attempts:
    """Counts failed sign-ins by address, so that passwords can't be tried out."""

    def __init__(self, clock: Clock, most: int = 10, window: Micros = 900 * SECOND) -> None:
        self._clock = clock
        self._most = most
        self._window = window
        self._failed: dict[str, list[Micros]] = {}

    def allowed(self, *keys: str) -> bool:
        """Whether another attempt may be made."""
        since = self._clock.now() - self._window
        return all(sum(at > since for at in self._failed.get(key, ())) < self._most for key in keys)

    def failed(self, *keys: str) -> None:
        """Remember a failure."""
        now = self._clock.now()
        if len(self._failed) > 10_000:
            self._failed = {key: ats for key, ats in self._failed.items() if ats[-1] > now - self._window}
        for key in keys:
            self._failed[key] = [*self._failed.get(key, [])[-self._most :], now]

    @property
    def minutes(self) -> int:
        """Length of the window in minutes."""
        return self._window // (60 * SECOND)
