"""A leaf: what is known under one identifier (`u:…` or `a:…`).

State lives on leaves and a profile is the merge of its leaves, so that joining two people copies nothing and can be
undone. Every field is the result of an operation that doesn't care about order or repetition: the smallest, the
largest, or the latest by time and message id.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from vitrina.core.clock import DAY, Micros
from vitrina.core.consent import ConsentRecord, LawfulBasis, Purpose
from vitrina.core.event import Event
from vitrina.core.ids import hash16
from vitrina.core.profile import ConsentState, answer_order, consent_key

__all__ = [
    "CATEGORIES",
    "Leaf",
    "consent_records",
    "decode_leaf",
    "encode_leaf",
    "fold_facts",
    "note_shown",
    "take_consent",
]

MOST_TRAITS = 200
MOST_SHOWN = 100
_LONGEST_TEXT = 1_000
_SHOWN_FOR = 400 * DAY

CATEGORIES: dict[str, tuple[Purpose, ...]] = {
    **{purpose.value: (purpose,) for purpose in Purpose},
    "personalization": (Purpose.PERSONALISATION,),
    "ads_personalization": (Purpose.ADS_PERSONALISATION,),
    "advertising": (Purpose.ADS_MEASUREMENT, Purpose.ADS_PERSONALISATION),
}
"""Names in `context.consent.categoryPreferences` (in lower case) → the purposes they answer for."""

Trait = tuple[Any, Micros, str]
"""Value, when it was stated, and the message that stated it."""


class Leaf(msgspec.Struct, kw_only=True, omit_defaults=True):
    """State under one identifier.

    Attributes:
        key: subject key.
        seen_at, last_at: earliest and latest event.
        decided_at: first decision; `assignment_key` is the identifier that was hashed for it.
        traits: name → `Trait`.
        consents: `consent_key` → latest answer; its record id is that of the latest evidence.
        proofs: `consent_key` → id and time of the latest record that was written for it.
        features: state of the feature set, owned by `vitrina.understand`.
        shown: offer id → when it was shown, oldest first, the last 100.
        gpc_at: when a browser last sent Global Privacy Control.
    """

    key: str
    seen_at: Micros
    last_at: Micros
    decided_at: Micros | None = None
    assignment_key: str | None = None
    traits: dict[str, Trait] = {}
    consents: dict[str, ConsentState] = {}
    proofs: dict[str, tuple[str, Micros]] = {}
    features: dict[str, Any] = {}
    shown: dict[str, list[Micros]] = {}
    gpc_at: Micros | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Leaf)


def encode_leaf(leaf: Leaf) -> bytes:
    """The stored form of a leaf (MessagePack)."""
    return _encoder.encode(leaf)


def decode_leaf(state: bytes) -> Leaf:
    """The leaf of a stored state."""
    return _decoder.decode(state)


def fold_facts(leaf: Leaf, event: Event) -> list[ConsentRecord] | None:
    """Take over what an event states about its person, features apart.

    Returns:
        Consent records that have to be written, or None.
    """
    at = event.occurred_at
    if at < leaf.seen_at:
        leaf.seen_at = at
    if at > leaf.last_at:
        leaf.last_at = at
    if event.type == "identify" and event.traits:
        _take_traits(leaf, event)
    context = event.context
    if "globalPrivacyControl" in context and context["globalPrivacyControl"] is True:
        leaf.gpc_at = max(leaf.gpc_at or 0, at)
    if "consent" not in context and event.name != "Unsubscribed":
        return None
    written: list[ConsentRecord] = []
    for record in consent_records(event):
        written += take_consent(leaf, record)
    return written or None


def _take_traits(leaf: Leaf, event: Event) -> None:
    at, message_id = event.occurred_at, event.message_id
    traits = leaf.traits
    for name, value in _plain(event.traits):
        known = traits.get(name)
        if known is None or (known[1], known[2]) < (at, message_id):
            traits[name] = (value, at, message_id)
    while len(traits) > MOST_TRAITS:  # which ones stay must not depend on the order of arrival
        del traits[max(traits)]


def _plain(traits: dict[str, Any]) -> list[tuple[str, Any]]:
    """Traits as scalars and short lists of scalars; an object is taken apart one level (`address.city`)."""
    found: list[tuple[str, Any]] = []
    for name, value in traits.items():
        if isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            found += [(f"{name}.{key}", _scalar(part)) for key, part in inner.items() if _is_scalar(part)]
        elif isinstance(value, list):
            parts = cast("list[Any]", value)[:50]
            found.append((name, [_scalar(part) for part in parts if _is_scalar(part)]))
        else:
            found.append((name, _scalar(value)))
    return [(name, value) for name, value in found if len(name) <= 255]


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return str(value)
    return value


class _Stated(msgspec.Struct, rename="camel"):
    """`context.consent`: Segment's `categoryPreferences`, and what else we know how to read."""

    category_preferences: dict[str, bool] = {}
    lawful_basis: LawfulBasis = LawfulBasis.CONSENT
    channel: str = ""
    source: str = ""
    text_version: str = ""
    locale: str = ""
    expires_at: Micros | None = None


def consent_records(event: Event) -> list[ConsentRecord]:
    """The answers that an event carries in `context.consent`, and the withdrawal that `Unsubscribed` is.

    Ids follow from the message id, so that the same event gives the same records. What can't be read gives none; an
    unreadable answer is never a yes.
    """
    found: list[ConsentRecord] = []
    stated: object = event.context.get("consent")
    if isinstance(stated, dict):
        try:
            consent = msgspec.convert(stated, _Stated, strict=False)
        except msgspec.ValidationError:
            consent = _Stated()
        for category, granted in consent.category_preferences.items():
            purposes = CATEGORIES.get(category.lower(), ())
            found += [_record(event, purpose, granted, consent) for purpose in purposes]
    if event.name == "Unsubscribed":
        found.append(_record(event, Purpose.EMAIL, False, _Stated(source="unsubscribed")))
    return found


def _record(event: Event, purpose: Purpose, granted: bool, stated: _Stated) -> ConsentRecord:
    key = consent_key(purpose, stated.channel)
    return ConsentRecord(
        id="c_" + hash16(f"{event.message_id}\n{event.subject}\n{key}", b"consent").hex(),
        subject=event.subject,
        purpose=purpose,
        granted=granted,
        basis=stated.lawful_basis,
        channel=stated.channel,
        source=stated.source or ("import" if event.backfilled else "banner"),
        text_version=stated.text_version,
        locale=stated.locale,
        at=event.occurred_at,
        expires_at=stated.expires_at,
    )


def take_consent(leaf: Leaf, record: ConsentRecord) -> list[ConsentRecord]:
    """Let an answer count: the latest does (see `answer_order`).

    An answer that only repeats what is known moves its time and isn't written again, or every page view would be a
    record. The records written, read by themselves, always give the same answer as the leaf.

    Returns:
        The records to write, oldest first.
    """
    key = consent_key(record.purpose, record.channel)
    known = leaf.consents.get(key)
    state: ConsentState = (record.granted, str(record.basis), record.at, record.id, record.expires_at)
    if known is None:
        leaf.consents[key] = state
        leaf.proofs[key] = (record.id, record.at)
        return [record]
    if record.id == known[3]:
        return []
    newer = answer_order(state) > answer_order(known)
    same = (record.granted, str(record.basis), record.expires_at) == (known[0], known[1], known[4])
    if newer:
        leaf.consents[key] = state
    if same:
        return []
    if newer:
        leaf.proofs[key] = (record.id, record.at)
        return [record]
    return [record, *_confirmation(leaf, key, record, known)]


def _confirmation(leaf: Leaf, key: str, late: ConsentRecord, known: ConsentState) -> list[ConsentRecord]:
    """The answer that stands, written again when a late one would otherwise look newer than its last record."""
    if leaf.proofs[key][1] > late.at:
        return []
    leaf.proofs[key] = (known[3], known[2])
    confirmed = msgspec.structs.replace(
        late, id=known[3], granted=known[0], basis=LawfulBasis(known[1]), at=known[2], expires_at=known[4]
    )
    return [confirmed]


def note_shown(leaf: Leaf, offers: Sequence[str], at: Micros) -> None:
    """Remember that offers were shown; noting the same moment again changes nothing."""
    for offer in offers:
        times = leaf.shown.setdefault(offer, [])
        place = bisect_left(times, at)
        if place == len(times) or times[place] != at:
            times.insert(place, at)
            del times[:-MOST_SHOWN]
    if len(leaf.shown) > MOST_SHOWN:
        for offer in [offer for offer, times in leaf.shown.items() if times[-1] < at - _SHOWN_FOR]:
            del leaf.shown[offer]
