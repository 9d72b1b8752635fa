"""Permission: every answer there is, and that nothing else makes a grant."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.core.consent import LawfulBasis, Purpose
from vitrina.core.grant import Grant, Refusal
from vitrina.core.profile import ConsentState, consent_key
from vitrina.govern.permission import advertising_refusal, ask

NOW = 1_000_000


class Person(msgspec.Struct, kw_only=True):
    """What permission reads of a profile."""

    profile_id: str = "u:анна"
    consents: dict[str, ConsentState] = {}
    gpc: bool = False
    years: int | None = None

    def age(self, now: int) -> int | None:
        return self.years


def allowed(
    purpose: str, *, granted: bool = True, basis: str = "consent", ends: int | None = None
) -> dict[str, ConsentState]:
    return {purpose: (granted, basis, 1, "c_1", ends)}


def reason(answer: Grant | Refusal) -> str:
    assert isinstance(answer, Refusal)
    return answer.reason


def test_what_is_not_allowed_is_refused_with_its_record() -> None:
    personal = Purpose.PERSONALISATION
    assert reason(ask(None, personal, NOW)) == "profile.unknown"
    assert reason(ask(Person(), personal, NOW)) == "consent.none"
    withdrawn = ask(Person(consents=allowed("personalisation", granted=False)), personal, NOW)
    assert reason(withdrawn) == "consent.withdrawn"
    assert isinstance(withdrawn, Refusal)
    assert withdrawn.record_id == "c_1"
    assert reason(ask(Person(consents=allowed("personalisation", ends=NOW)), personal, NOW)) == "consent.expired"
    assert isinstance(ask(Person(consents=allowed("personalisation", ends=NOW + 1)), personal, NOW), Grant)
    assert reason(ask(Person(consents=allowed("email")), personal, NOW)) == "consent.none"


def test_an_answer_for_a_channel_counts_before_one_for_all() -> None:
    consents = {**allowed("messaging"), consent_key("messaging", "push"): (False, "consent", 2, "c_2", None)}
    person = Person(consents=consents)
    assert isinstance(ask(person, Purpose.MESSAGING, NOW), Grant)
    assert isinstance(ask(person, Purpose.MESSAGING, NOW, channel="sms"), Grant)
    assert reason(ask(person, Purpose.MESSAGING, NOW, channel="push")) == "consent.withdrawn"


def test_global_privacy_control() -> None:
    consented = Person(consents=allowed("personalisation"))
    assert isinstance(ask(consented, Purpose.PERSONALISATION, NOW, gpc=True), Grant), "an explicit consent stands"
    objected = Person(consents=allowed("personalisation", basis=LawfulBasis.LEGITIMATE_INTEREST))
    assert isinstance(ask(objected, Purpose.PERSONALISATION, NOW), Grant)
    assert reason(ask(objected, Purpose.PERSONALISATION, NOW, gpc=True)) == "gpc"
    ads = Person(consents=allowed("ads_personalisation"), gpc=True)
    assert reason(ask(ads, Purpose.ADS_PERSONALISATION, NOW)) == "gpc"


@given(
    years=st.integers(0, 17),
    granted=st.booleans(),
    basis=st.sampled_from(list(LawfulBasis)),
    gpc=st.booleans(),
    purpose=st.sampled_from(list(Purpose)),
)
def test_a_minor_is_never_profiled_for_advertising(
    years: int, granted: bool, basis: LawfulBasis, gpc: bool, purpose: Purpose
) -> None:
    consents = {key.value: (granted, basis.value, 1, "c", None) for key in Purpose}
    person = Person(consents=consents, years=years)
    answer = ask(person, purpose, NOW, gpc=gpc)
    if purpose in {Purpose.ADS_PERSONALISATION, Purpose.ADS_MEASUREMENT}:
        assert isinstance(answer, Refusal)
    if isinstance(answer, Grant):
        assert not answer.advertising
    assert advertising_refusal(person, NOW, gpc=gpc) == "advertising.minor"


def test_only_permission_makes_a_grant(root: Path) -> None:
    makers = [
        str(path.relative_to(root))
        for path in (root / "src").rglob("*.py")
        if "Grant(" in path.read_text(encoding="utf-8").replace("class Grant(", "")
    ]
    assert makers == ["src/vitrina/govern/permission.py"]


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_grant_names_its_proof(purpose: Purpose) -> None:
    person = Person(consents=allowed(purpose.value), years=40)
    answer = ask(person, purpose, NOW)
    assert isinstance(answer, Grant)
    assert (answer.purpose, answer.profile_id, answer.record_id, answer.basis) == (purpose, "u:анна", "c_1", "consent")
