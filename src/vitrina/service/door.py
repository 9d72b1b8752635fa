"""Who is at the door: from a request to a `Caller`, or a refusal."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Protocol

import msgspec

from vitrina.core.access import Caller
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import PermissionRefusedError, VitrinaError
from vitrina.service.exchange import Exchange
from vitrina.service.limits import Limits

__all__ = ["Door", "KeyRing", "UnauthorisedError", "token_of"]


class UnauthorisedError(VitrinaError):
    """No key, or one that opens nothing (HTTP 401)."""

    exit_code = 3
    status = 401


class KeyRing(Protocol):
    """What the door needs of the workspace's keys."""

    def find(self, token: str) -> Caller | None:
        """The caller that a key stands for; None for one that opens nothing."""
        ...

    def ended(self, token: str) -> tuple[str, str] | None:
        """Of a key that opens nothing any more, its name and why: revoked | expired."""
        ...

    def proves(self, user_id: str, user_hash: str | None) -> bool:
        """Whether a userHash belongs to a userId."""
        ...


class _WriteKey(msgspec.Struct, rename="camel"):
    write_key: str = ""


_decode_write_key = msgspec.json.Decoder(_WriteKey).decode


def token_of(header: bytes | None) -> str:
    """The key in an `Authorization` header: the Basic user or the Bearer token; "" when there is none.

    >>> token_of(b"Basic dndfYWJjOg=="), token_of(b"Bearer vs_abc"), token_of(None)
    ('vw_abc', 'vs_abc', '')
    """
    if not header:
        return ""
    kind, _, value = header.partition(b" ")
    kind = kind.lower()
    if kind == b"bearer":
        return value.strip().decode("latin-1")
    if kind == b"basic":
        try:
            return b64decode(value.strip(), validate=True).decode("utf-8", "replace").partition(":")[0]
        except (binascii.Error, ValueError):
            return ""
    return ""


class Door:
    """Checks keys, scopes and rates for every route."""

    def __init__(self, keys: KeyRing, limits: Limits) -> None:
        self._keys = keys
        self._limits = limits

    def arrive(self, exchange: Exchange, address: str) -> None:
        """Whose key the header holds, and whether more may come from there; the body is not looked at.

        Raises:
            RateLimitedError: too many came with this key, or from this address without a secret key.
        """
        token = exchange.token = token_of(exchange.headers.get(b"authorization"))
        caller = self._keys.find(token) if token else None
        if caller is None or caller.kind == "write":
            self._limits.check_address(address)
        if caller is not None:
            self._recognise(exchange, caller)

    def admit(self, exchange: Exchange, scope: str) -> Caller:
        """The caller of a route that needs `scope`.

        Raises:
            UnauthorisedError: no key, or one that opens nothing.
            PermissionRefusedError: the key lacks the scope.
        """
        caller = exchange.caller
        if caller is None:
            raise self._unauthorised(exchange)
        if not caller.may(scope):
            raise PermissionRefusedError(
                f"the key {caller.name} lacks the scope {scope}.",
                code="key.scope",
                where="authorization",
                cure="Use a secret key that has it.",
            )
        return caller

    def collector(self, exchange: Exchange, body: bytes) -> Caller:
        """The caller of a collect route: key in the header, else `writeKey` in the body.

        Raises:
            UnauthorisedError: no key, or one that opens nothing.
            PermissionRefusedError: the key may not send events.
            RateLimitedError: too many came with this key.
        """
        if not exchange.token:
            try:
                exchange.token = _decode_write_key(body).write_key
            except msgspec.DecodeError:
                exchange.token = ""
            caller = self._keys.find(exchange.token) if exchange.token else None
            if caller is not None:
                self._recognise(exchange, caller)
        return self.admit(exchange, "collect")

    def check_decide(self, request: DecideRequest, caller: Caller, *, public: bool) -> None:
        """What a write key may ask: public placements, for an anonymousId or a userId with its `userHash`.

        Nothing of the person is looked at, so the answer is the same for people whom we know and whom we don't; and the
        same for a placement that isn't public and one that isn't there.

        Raises:
            PermissionRefusedError: it asks for more.
        """
        if caller.kind != "write":
            return
        if not public:
            raise PermissionRefusedError(
                f"there is no public placement {request.placement}.",
                code="placement.private",
                where="placement",
                cure="Check its id; ask with a secret key from your server, or set `public` on the placement.",
            )
        if request.preview or request.at:
            raise PermissionRefusedError(
                "a write key can't preview.",
                code="key.preview",
                where="preview" if request.preview else "at",
                cure="Ask with a secret key.",
            )
        if request.user_id is not None and not self._keys.proves(request.user_id, request.user_hash):
            raise PermissionRefusedError(
                "the userHash does not belong to this userId.",
                code="user.hash",
                where="userHash",
                cure="Make it on your server: hex HMAC-SHA-256 of the userId with the identity secret.",
            )

    def _recognise(self, exchange: Exchange, caller: Caller) -> None:
        exchange.name = caller.name
        self._limits.check_key(caller)
        exchange.caller = caller

    def _unauthorised(self, exchange: Exchange) -> UnauthorisedError:
        token = exchange.token
        ended = self._keys.ended(token) if token else None
        if ended is not None:
            exchange.name, why = ended
            what = "This key was revoked." if why == "revoked" else "This key has expired."
            code = f"key.{why}"
        else:
            what, code = ("This key opens nothing.", "key.unknown") if token else ("There is no key.", "key.missing")
        return UnauthorisedError(
            what,
            code=code,
            where="authorization",
            cure="Send a key made with `vitrina keys create` as Basic user or Bearer token.",
        )
