"""May this profile's data be used for this purpose, now? The only place that makes a `Grant`.

Deny overrides. A minor is never profiled for advertising, whatever was consented to. Global Privacy Control refuses the
advertising purposes, and counts as an objection against a legitimate interest; it doesn't undo an explicit consent to
another purpose (W3C, Global Privacy Control, section 3: it speaks of sale, sharing and targeted advertising).
"""

from __future__ import annotations

from vitrina.core.clock import Micros
from vitrina.core.consent import LawfulBasis, Purpose
from vitrina.core.grant import Grant, Refusal
from vitrina.core.profile import ConsentState, Subject, consent_key

__all__ = ["access_grant", "advertising_refusal", "ask", "consent_refusal"]

_ADVERTISING = frozenset({Purpose.ADS_MEASUREMENT, Purpose.ADS_PERSONALISATION})


def ask(
    subject: Subject | None, purpose: Purpose, now: Micros, *, channel: str = "", gpc: bool = False, adult_age: int = 18
) -> Grant | Refusal:
    """Permission to use `subject`'s data for `purpose` at `now`, with the record that proves it, or why not.

    Args:
        subject: the profile, or None when nothing is known about the person.
        channel: asks for this channel; an answer for the channel counts before one for all channels.
        gpc: the request carried `Sec-GPC: 1`.
        adult_age: years from which advertising may profile a person.
    """
    if subject is None:
        return Refusal(purpose=purpose, reason="profile.unknown")
    state = _state(subject, purpose, channel)
    refused = consent_refusal(state, now)
    if refused is not None:
        return Refusal(purpose=purpose, reason=refused, record_id=state[3] if state else None)
    assert state is not None
    gpc = gpc or subject.gpc
    if gpc and (purpose in _ADVERTISING or state[1] == LawfulBasis.LEGITIMATE_INTEREST):
        return Refusal(purpose=purpose, reason="gpc", record_id=state[3])
    advertising = advertising_refusal(subject, now, gpc=gpc, adult_age=adult_age)
    if purpose in _ADVERTISING and advertising == "advertising.minor":
        return Refusal(purpose=purpose, reason="minor", record_id=state[3])
    return Grant(
        purpose=purpose,
        profile_id=subject.profile_id,
        record_id=state[3],
        basis=state[1],
        at=now,
        advertising=advertising is None,
    )


def access_grant(subject: Subject, now: Micros) -> Grant:
    """Permission to show a person what is held about them (GDPR art. 15): the law obliges us, no consent is needed."""
    return Grant(
        purpose=Purpose.ESSENTIAL,
        profile_id=subject.profile_id,
        record_id="gdpr.15",
        basis=LawfulBasis.OBLIGATION,
        at=now,
    )


def _state(subject: Subject, purpose: Purpose, channel: str) -> ConsentState | None:
    consents = subject.consents
    if channel:
        state = consents.get(consent_key(purpose, channel))
        if state is not None:
            return state
    return consents.get(purpose)


def consent_refusal(state: ConsentState | None, now: Micros) -> str | None:
    """The reason code against a consent state at `now`, or None when it stands. No record means not granted."""
    if state is None:
        return "consent.none"
    granted, _, _, _, expires_at = state
    if not granted:
        return "consent.withdrawn"
    if expires_at is not None and expires_at <= now:
        return "consent.expired"
    return None


def advertising_refusal(subject: Subject | None, now: Micros, *, gpc: bool, adult_age: int = 18) -> str | None:
    """The reason code against showing personalised advertising to `subject`, or None when it is permitted."""
    if subject is not None:
        age = subject.age(now)
        if age is not None and age < adult_age:
            return "advertising.minor"
    if gpc or (subject is not None and subject.gpc):
        return "advertising.gpc"
    if subject is None or consent_refusal(_state(subject, Purpose.ADS_PERSONALISATION, ""), now) is not None:
        return "advertising.consent"
    return None
