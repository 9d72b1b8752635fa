"""Who is at the door: from the request's headers to a `Caller`, or a refusal that the audit log remembers."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from typing import Protocol

import msgspec

from vitrina.core.access import Caller
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import PermissionRefusedError, VitrinaError
from vitrina.service.refusals import Refusals

__all__ = ["Door", "KeyRing", "UnauthorisedError", "token_of"]


class UnauthorisedError(VitrinaError):
    """No key, or one that opens nothing (HTTP 401)."""

    exit_code = 3
    status = 401


class KeyRing(Protocol):
    """What the door needs of the workspace's keys."""

    def find(self, token: str) -> Caller | None:
        """The caller that a key stands for; None for an unknown or revoked one."""
        ...

    def user_hash(self, user_id: str) -> str:
        """Hex HMAC-SHA-256 of the userId with the workspace's identity secret."""
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
    """Checks keys and scopes for every route, and keeps what it refused."""

    def __init__(self, keys: KeyRing, refusals: Refusals) -> None:
        self._keys = keys
        self._refusals = refusals

    def caller(self, headers: dict[bytes, bytes], scope: str, route: str) -> Caller:
        """The caller of a route that needs `scope`.

        Raises:
            UnauthorisedError: no key or an unknown one.
            PermissionRefusedError: the key lacks the scope.
        """
        return self._admit(token_of(headers.get(b"authorization")), scope, route)

    def collector(self, headers: dict[bytes, bytes], body: bytes, route: str) -> Caller:
        """The caller of a collect route: key in the header, else `writeKey` in the body.

        Raises:
            UnauthorisedError: no key or an unknown one.
            PermissionRefusedError: the key may not send events.
        """
        token = token_of(headers.get(b"authorization"))
        if not token:
            try:
                token = _decode_write_key(body).write_key
            except msgspec.DecodeError:
                token = ""
        return self._admit(token, "collect", route)

    def _admit(self, token: str, scope: str, route: str) -> Caller:
        caller = self._keys.find(token) if token else None
        if caller is None:
            code = "key.unknown" if token else "key.missing"
            self._refusals.note(route, code, "")
            what = "This key opens nothing." if token else "There is no key."
            raise UnauthorisedError(
                what,
                code=code,
                where="authorization",
                cure="Send a key made with `vitrina keys create` as Basic user or Bearer token.",
            )
        if scope not in caller.scopes and "*" not in caller.scopes:
            self._refuse(
                caller,
                route,
                "key.scope",
                f"the key {caller.name} lacks the scope {scope}.",
                "authorization",
                "Use a secret key that has it.",
            )
        return caller

    def check_decide(self, request: DecideRequest, caller: Caller, *, public: bool) -> None:
        """What a write key may ask: public placements, for an anonymousId or a userId with its `userHash`.

        Raises:
            PermissionRefusedError: it asks for more.
        """
        if caller.kind != "write":
            return
        route = "/v1/decide"
        if not public:
            self._refuse(
                caller,
                route,
                "placement.private",
                f"the placement {request.placement} is not public.",
                "placement",
                "Ask with a secret key from your server, or set `public` on the placement.",
            )
        if request.preview or request.at:
            field = "preview" if request.preview else "at"
            self._refuse(caller, route, "key.preview", "a write key can't preview.", field, "Ask with a secret key.")
        if request.user_id is not None:
            expected = self._keys.user_hash(request.user_id)
            if not hmac.compare_digest(expected.encode(), (request.user_hash or "").lower().encode()):
                self._refuse(
                    caller,
                    route,
                    "user.hash",
                    "the userHash does not belong to this userId.",
                    "userHash",
                    "Make it on your server: hex HMAC-SHA-256 of the userId with the identity secret.",
                )

    def _refuse(self, caller: Caller, route: str, code: str, what: str, field: str, cure: str) -> None:
        self._refusals.note(route, code, caller.name)
        raise PermissionRefusedError(what, code=code, where=field, cure=cure)
