"""People and their rights, across the rooms: what is known, everything that is stored, consents, erasure."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from vitrina.collect.identifiers import erasure_key
from vitrina.collect.profile import Profile
from vitrina.collect.profile_store import erase_links
from vitrina.collect.profiles import ProfileBook
from vitrina.core.clock import Clock, instant_of, iso
from vitrina.core.consent import ConsentRecord, LawfulBasis, Purpose
from vitrina.core.errors import NotFoundError, UserError
from vitrina.core.ids import new_id
from vitrina.decide.log import DecisionLog
from vitrina.decide.outcomes import OutcomeLog
from vitrina.govern.audit import Audit
from vitrina.govern.consent import Consents
from vitrina.govern.erasure import Erasure, Ledger, Receipt, subjects_in_store
from vitrina.govern.export import export_rows
from vitrina.govern.permission import access_grant
from vitrina.storage.engine import Engine
from vitrina.storage.lake import Lake
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream
from vitrina.understand.features import FeatureSet

__all__ = ["People", "TakenOver"]

_IN_FLIGHT_SECONDS = 0.1
"""Time that requests accepted just before a tombstone get to reach the writer."""

_KINDS = frozenset({"u:", "a:", "e:", "p:", "x:"})


class TakenOver(msgspec.Struct, frozen=True):
    """What taking over a ledger did: its tombstones, rows that were erased, and the receipt (None: nobody was here)."""

    tombstones: int
    rows: int
    receipt: str | None


class People:
    """What the law and the console ask of a person. Wired by the workspace.

    Attributes:
        erased: tombstones of everybody who was erased; `vitrina.collect.ingest` reads this very set.
    """

    def __init__(
        self,
        *,
        store: Store,
        lake: Lake,
        engine: Engine,
        streams: Sequence[Stream],
        profiles: ProfileBook,
        features: FeatureSet,
        consents: Consents,
        decisions: DecisionLog,
        outcomes: OutcomeLog,
        audit: Audit,
        clock: Clock,
        rng: np.random.Generator,
    ) -> None:
        self.store = store
        self.lake = lake
        self.engine = engine
        self.profiles = profiles
        self.features = features
        self.consents = consents
        self.decisions = decisions
        self.outcomes = outcomes
        self.audit = audit
        self.clock = clock
        self.rng = rng
        self._streams = tuple(streams)
        self._erasing: set[str] = set()
        self.erasures = Erasure(
            store, clock, erasure_key, own=(self._erase_links, self._erase_lake), on_tombstones=self._bury
        )
        self.erased = self.erasures.tombstones()

    def _known(self, identifier: str) -> Profile | None:
        if identifier[:2] in _KINDS:
            return self.profiles.of(identifier)
        return self.profiles.find(identifier, identifier)

    def _leaves(self, identifier: str) -> tuple[list[str], list[str]]:
        """(leaf identifiers, other identifiers) of a person, known or not yet known."""
        profile = self._known(identifier)
        if profile is None:
            bare = identifier if identifier[:2] in {"u:", "a:"} else ""
            return ([bare] if bare else [f"u:{identifier}", f"a:{identifier}"]), []
        names = list(profile.identifiers)
        if identifier[:2] not in _KINDS:
            names += [name for name in (f"u:{identifier}",) if name not in names and profile.user_id is None]
        leaves = [name for name in names if name[:2] in {"u:", "a:"}]
        return leaves, [name for name in names if name not in leaves]

    def person(self, identifier: str) -> dict[str, Any]:
        """What is known about a person: identifiers, traits, features, consents, last decisions.

        Raises:
            NotFoundError: nothing is known about this identifier.
        """
        profile = self._known(identifier)
        if profile is None:
            raise NotFoundError(
                f"nobody is known as {identifier}.", code="person.unknown", cure="Check the identifier."
            )
        now = self.clock.now()
        leaves, _ = self._leaves(identifier)
        with self.profiles.reading():
            personal = profile.personal(access_grant(profile, now))
            features = self.features.values(personal.features, now)
        recent = self.decisions.of_subject(leaves)[-20:]
        return {
            "profileId": profile.profile_id,
            "identifiers": list(profile.identifiers),
            "traits": dict(personal.traits),
            "features": features,
            "consents": [_consent(record) for record in self.consents.of(leaves)],
            "decisions": [
                {"decisionId": row.id, "at": iso(row.at), "placement": row.placement, "holdout": row.holdout}
                for row in reversed(recent)
            ],
        }

    def export(self, identifier: str) -> dict[str, Any]:
        """Every row about a person, table by table, store and lake.

        Raises:
            NotFoundError: nothing is known about this identifier.
        """
        self.profiles.settle()
        if self._known(identifier) is None:
            raise NotFoundError(
                f"nobody is known as {identifier}.", code="person.unknown", cure="Check the identifier."
            )
        leaves, others = self._leaves(identifier)
        return {
            "identifiers": [*leaves, *others],
            "store": export_rows(self.store, [*leaves, *others]),
            "lake": {name: self._lake_rows(name, leaves) for name in ("events", "decisions", "outcomes")},
        }

    def _lake_rows(self, name: str, leaves: Sequence[str]) -> list[dict[str, Any]]:
        table = self.engine.table(name, tail=False)
        held: Any = table.subject
        rows = table.filter(held.isin(list(leaves))).to_pyarrow().to_pylist()
        return [
            {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()} for row in rows
        ]

    def put_consent(self, identifier: str, purpose: Purpose, given: dict[str, Any]) -> ConsentRecord:
        """Append a consent record; it counts from the next decision on, whatever happens to this process.

        Args:
            identifier: any identifier, known or not yet known.
            given: granted, and optionally lawfulBasis, channel, source, textVersion, locale, at, expiresAt.
        """
        leaves, _ = self._leaves(identifier)
        now = self.clock.now()
        record = ConsentRecord(
            id=new_id("c", now, self.rng),
            subject=leaves[0],
            purpose=purpose,
            granted=given["granted"],
            basis=LawfulBasis(given.get("lawfulBasis", "consent")),
            channel=given.get("channel", ""),
            source=given.get("source", "api"),
            text_version=given.get("textVersion", ""),
            locale=given.get("locale", ""),
            at=_instant(given.get("at"), now, "at"),
            expires_at=_instant(given.get("expiresAt"), None, "expiresAt"),
        )
        self.consents.record([record])
        self.profiles.apply_consent(record)
        self.profiles.save()  # a no that was acknowledged must outlive a crash
        return record

    def erase(self, identifier: str) -> Receipt:
        """Erase a person everywhere, and keep them from coming back with late events."""
        return self._erase(identifier, new_id("e", self.clock.now(), self.rng))

    def _erase(self, identifier: str, erasure_id: str) -> Receipt:
        self.profiles.settle()
        leaves, others = self._leaves(identifier)
        receipt = self.erasures.erase(erasure_id, leaves, keys=others)
        self.audit.record("erasure", "person.erase", {"receipt": receipt.id, "rows": sum(receipt.counts.values())})
        self.store.scrub()
        return receipt

    def erase_soon(self, identifier: str) -> str:
        """Begin to erase a person in the background; gives the id to ask for with `erasure`.

        It is on disk that it was asked for: a process that is killed meanwhile finishes it when it starts again.
        """
        erasure_id = new_id("e", self.clock.now(), self.rng)
        leaves, others = self._leaves(identifier)
        self.erasures.begin(erasure_id, [*leaves, *others])
        threading.Thread(
            target=self._erase, args=(identifier, erasure_id), name="vitrina-erasure", daemon=False
        ).start()
        self._erasing.add(erasure_id)
        return erasure_id

    def finish_erasures(self) -> list[str]:
        """Finish, in the background, what a process began and did not live to finish; gives the ids of the receipts."""
        unfinished = self.erasures.unfinished()

        def finish() -> None:
            for erasure_id in unfinished:
                self._erase_known(erasure_id, self.erasures.tombstones())

        if unfinished:
            threading.Thread(target=finish, name="vitrina-erasure", daemon=False).start()
        return unfinished

    def take_over(self, ledger: Ledger) -> TakenOver:
        """Erase everybody whom the ledger of another workspace names, and keep them from coming back."""
        self.erasures.take_over(ledger)
        keys = {bytes.fromhex(each.key) for each in ledger.tombstones}
        receipt = self._erase_known(new_id("e", self.clock.now(), self.rng), keys)
        rows = 0 if receipt is None else sum(receipt.counts.values())
        return TakenOver(len(ledger.tombstones), rows, None if receipt is None else receipt.id)

    def _erase_known(self, erasure_id: str, keys: AbstractSet[bytes]) -> Receipt | None:
        """Erase whoever is here and has one of these tombstones; None when nobody is."""

        def named(subject: str) -> bool:
            return erasure_key(subject) in keys

        self.profiles.settle()
        found = subjects_in_store(self.store, named)
        for stream in self._streams:
            found |= self.lake.subjects(stream, named)
        if not found and self.erasures.receipt(erasure_id) is None:
            return None
        receipt = self.erasures.erase(erasure_id, sorted(found))
        self.audit.record("erasure", "person.erase", {"receipt": receipt.id, "rows": sum(receipt.counts.values())})
        self.store.scrub()
        return receipt

    def erasure(self, erasure_id: str) -> dict[str, Any]:
        """The receipt of an erasure; `doneAt` is null while it goes on.

        Raises:
            NotFoundError: there is no such erasure.
        """
        receipt = self.erasures.receipt(erasure_id)
        if receipt is None and erasure_id in self._erasing:
            receipt = Receipt(id=erasure_id, asked_at=self.clock.now(), done_at=None, counts={})
        if receipt is None:
            raise NotFoundError("there is no such erasure.", code="erasure.unknown", where=erasure_id)
        return {
            "id": receipt.id,
            "askedAt": iso(receipt.asked_at),
            "doneAt": None if receipt.done_at is None else iso(receipt.done_at),
            "counts": receipt.counts,
        }

    def _bury(self, tombstones: Sequence[bytes]) -> None:
        self.erased.update(tombstones)
        time.sleep(_IN_FLIGHT_SECONDS)
        self.profiles.settle()

    def _erase_links(self, subjects: Sequence[str]) -> dict[str, int]:
        counts = self.store.write(lambda connection: erase_links(connection, subjects))
        names = set(subjects)
        self.profiles.forget(names)
        self.decisions.forget(names)
        self.outcomes.forget(names)
        return counts

    def _erase_lake(self, subjects: Sequence[str]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for stream in self._streams:
            erased = self.lake.delete(stream, subjects)
            counts[f"{stream.name}_journal"] = erased.journal_rows
            counts[f"lake.{stream.name}"] = erased.lake_rows
        return counts


def _instant(text: str | None, default: Any, where: str) -> Any:
    if not text:
        return default
    try:
        return instant_of(datetime.fromisoformat(text))
    except ValueError:
        raise UserError(
            f"{text!r} is not a time.", code="time.unreadable", where=where, cure="Write ISO 8601."
        ) from None


def _consent(record: ConsentRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "purpose": record.purpose,
        "granted": record.granted,
        "lawfulBasis": record.basis,
        "channel": record.channel,
        "source": record.source,
        "textVersion": record.text_version,
        "locale": record.locale,
        "at": iso(record.at),
        "expiresAt": None if record.expires_at is None else iso(record.expires_at),
    }
