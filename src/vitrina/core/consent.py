"""Purposes of processing, lawful bases, and the append-only consent record."""

from __future__ import annotations

import enum

import msgspec

from vitrina.core.clock import Micros

__all__ = ["ConsentRecord", "LawfulBasis", "Purpose"]


class Purpose(enum.StrEnum):
    """What data may be used for."""

    ESSENTIAL = "essential"
    ANALYTICS = "analytics"
    PERSONALISATION = "personalisation"
    EMAIL = "email"
    MESSAGING = "messaging"
    ADS_MEASUREMENT = "ads_measurement"
    ADS_PERSONALISATION = "ads_personalisation"
    MODEL_TRAINING = "model_training"


class LawfulBasis(enum.StrEnum):
    """Why the law allows it (GDPR art. 6)."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGITIMATE_INTEREST = "legitimate_interest"
    OBLIGATION = "obligation"


class ConsentRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer of one person about one purpose. Records are appended, never changed; the latest `at` counts.

    Attributes:
        subject: leaf identifier (`u:…` or `a:…`) that answered.
        channel: "" for every channel of the purpose.
        source: form | banner | tcf | gpc | import | api.
        at: when the person answered; ties are settled by `id`.
        expires_at: from then on it counts as not granted; None for no end.
    """

    id: str
    subject: str
    purpose: Purpose
    granted: bool
    basis: LawfulBasis = LawfulBasis.CONSENT
    channel: str = ""
    source: str = "api"
    text_version: str = ""
    locale: str = ""
    at: Micros = 0
    expires_at: Micros | None = None
