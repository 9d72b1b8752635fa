"""One request and its answer, as every layer of the service sees it: its id, where it came from, whose it is."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from vitrina.core.access import Caller

__all__ = ["Clients", "Exchange", "exchange_of"]

_LOG = logging.getLogger("vitrina.service")
_SANE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_PLACE = "vitrina"


class Exchange:
    """One request.

    Attributes:
        headers: names in lower case; of a repeated one the last.
        request_id: the sender's `X-Request-Id` if it is sane, else one of ours.
        hot: it goes to a bare route, which pages of other sites may call.
        token: the key in its header, "" without one.
        caller: whose key that is, None for nobody's.
        name: who asks, for the audit log; never a customer.
        code: why it was refused, "" while it wasn't.
        status: of the answer; 500 until there is one.
    """

    __slots__ = ("caller", "code", "headers", "hot", "name", "request_id", "status", "token")

    def __init__(self, headers: dict[bytes, bytes], *, hot: bool) -> None:
        self.headers = headers
        self.hot = hot
        given = headers.get(b"x-request-id")
        self.request_id: bytes = (
            given if given is not None and _SANE.fullmatch(given) else b"r_" + os.urandom(9).hex().encode()
        )
        self.token = ""
        self.caller: Caller | None = None
        self.name = ""
        self.code = ""
        self.status = 500

    def place(self, scope: Any) -> None:
        """Lay it into the ASGI scope, where `exchange_of` finds it."""
        scope[_PLACE] = self


def exchange_of(scope: Any) -> Exchange:
    """The exchange of an ASGI scope."""
    return scope[_PLACE]


class Clients:
    """Where requests come from: the socket's address or, behind proxies that are trusted, what these say."""

    def __init__(self, trusted: Sequence[str]) -> None:
        networks = tuple(ip_network(network, strict=False) for network in trusted)
        self._any = bool(networks)
        self._trusts = lru_cache(maxsize=4096)(lambda address: _is_in(address, networks))
        self._warned = False

    def place(self, scope: Any, headers: dict[bytes, bytes]) -> str:
        """Write the client's address and scheme into the ASGI scope; gives the address.

        `X-Forwarded-For` is read from its end, where the nearest proxy wrote, up to the first address that isn't a
        trusted proxy's: what stands before it is anybody's word.
        """
        peer: str = (scope.get("client") or ("", 0))[0]
        if b"x-forwarded-for" not in headers and b"x-forwarded-proto" not in headers:
            return peer
        if not self._any or not self._trusts(peer):
            self._warn(peer)
            return peer
        said = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
        for entry in reversed(said.split(",")):
            address = _address(entry.strip())
            if not address:
                break
            peer = address
            if not self._trusts(address):
                break
        scope["client"] = (peer, 0)
        scheme = headers.get(b"x-forwarded-proto", b"").strip().lower()
        if scheme in (b"http", b"https"):
            scope["scheme"] = scheme.decode()
        return peer

    def _warn(self, peer: str) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning(
                "%s says for whom it asks (X-Forwarded-For), which is not believed: if it is your proxy, name its "
                "address in service.trusted_proxies",
                peer or "a local socket",
            )


def _is_in(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in networks)


def _address(entry: str) -> str:
    """The address in an entry of X-Forwarded-For, without a port; "" when it holds none."""
    bare = entry[1:].partition("]")[0] if entry.startswith("[") else entry
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return ""
