"""How many requests may come: by key, and by the address of whoever has no secret key.

A bucket lets a burst through and then so many a second (the generic cell rate algorithm: one number a bucket). Buckets
lie in this process's memory, the least recently used are forgotten first, and each process counts for itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from vitrina.core.access import Caller
from vitrina.core.config import Service
from vitrina.core.errors import RefusedError

__all__ = ["Buckets", "Limits", "RateLimitedError", "bucket_of"]

_MOST = 20_000
_IPV6_SITE = 64


class RateLimitedError(RefusedError):
    """Too many requests; try again after `retry_after` seconds (HTTP 429)."""

    status = 429

    def __init__(self, message: str, *, code: str, where: str, retry_after: int) -> None:
        super().__init__(message, code=code, where=where, cure=f"Try again in {retry_after} s.")
        self.retry_after = retry_after


class Buckets:
    """Buckets of one kind.

    Args:
        rate: requests a second; 0 sets no limit.
        burst: requests that a full bucket holds, at least 1.
        most: buckets that are remembered.
        timer: seconds, growing.
    """

    def __init__(
        self, rate: float, burst: float, most: int = _MOST, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._each = 1 / rate if rate else 0.0
        self._ahead = (max(burst, 1.0) - 1) * self._each
        self._most = most
        self._timer = timer
        self._full_at: dict[str, float] = {}

    def take(self, name: str) -> float:
        """Take one request out of a bucket: 0 when it was there, else seconds until one is."""
        if not self._each:
            return 0.0
        now = self._timer()
        full_at = max(self._full_at.pop(name, now), now)
        wait = full_at - now - self._ahead
        self._full_at[name] = full_at + self._each if wait <= 0 else full_at
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        return max(wait, 0.0)

    def __len__(self) -> int:
        return len(self._full_at)


class Limits:
    """The limits of a server, as its settings say."""

    def __init__(self, settings: Service, timer: Callable[[], float] = time.monotonic) -> None:
        def buckets(rate: float) -> Buckets:
            return Buckets(rate, rate * settings.burst_seconds, timer=timer)

        self._addresses = buckets(settings.requests_per_address)
        self._keys = {
            "write": buckets(settings.requests_per_write_key),
            "secret": buckets(settings.requests_per_secret_key),
        }

    def check_address(self, address: str) -> None:
        """Count a request that came without a secret key; this machine's own addresses are not counted.

        Raises:
            RateLimitedError: too many came from there.
        """
        name = bucket_of(address)
        if name:
            _refuse(self._addresses.take(name), "rate.address", "from this address", "")

    def check_key(self, caller: Caller) -> None:
        """Count a request by its key.

        Raises:
            RateLimitedError: too many came with it.
        """
        _refuse(self._keys[caller.kind].take(caller.name), "rate.key", "with this key", "authorization")


def _refuse(wait: float, code: str, what: str, where: str) -> None:
    if wait > 0:
        seconds = max(math.ceil(wait), 1)
        raise RateLimitedError(f"too many requests come {what}.", code=code, where=where, retry_after=seconds)


@lru_cache(maxsize=_MOST)
def bucket_of(address: str) -> str:
    """The bucket of an address: itself, of IPv6 the site (/64) that one household or host has, "" for this machine.

    A proxy on this machine that no setting names would else be one visitor.

    >>> bucket_of("203.0.113.9"), bucket_of("2001:db8:1:2::7"), bucket_of("::ffff:203.0.113.9"), bucket_of("127.0.0.1")
    ('203.0.113.9', '2001:db8:1:2::/64', '203.0.113.9', '')
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return "" if found.is_loopback else str(ip_network((int(found), _IPV6_SITE), strict=False))
        found = found.ipv4_mapped
    return "" if found.is_loopback else str(found)
