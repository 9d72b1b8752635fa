"""What a rule may know of a profile before permission is asked: who it is, what it allowed, how old it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vitrina.core.clock import Micros

__all__ = ["ConsentState", "Subject", "answer_order", "consent_key"]

ConsentState = tuple[bool, str, Micros, str, Micros | None]
"""granted, lawful basis, time of the answer, record id, expiry or None."""


def answer_order(state: ConsentState) -> tuple[Micros, bool, str]:
    """What answers to one question are sorted by, the one that counts last: a no counts against a yes of the same time.

    >>> yes, no = (True, "consent", 5, "b", None), (False, "consent", 5, "a", None)
    >>> max(yes, no, key=answer_order)[0]
    False
    """
    return state[2], not state[0], state[3]


def consent_key(purpose: str, channel: str = "") -> str:
    """The key of a consent in a profile: the purpose, and the channel where it is given for one channel only."""
    return f"{purpose}/{channel}" if channel else purpose


class Subject(Protocol):
    """The part of a profile that permission reads."""

    @property
    def profile_id(self) -> str:
        """Stable id of the profile."""
        ...

    @property
    def consents(self) -> Mapping[str, ConsentState]:
        """The latest answer by `consent_key`."""
        ...

    @property
    def gpc(self) -> bool:
        """The person's last browser signal was Global Privacy Control."""
        ...

    def age(self, now: Micros) -> int | None:
        """Age in full years, or None when not known."""
        ...
