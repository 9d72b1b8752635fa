"""Words and figures as each language writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.console.formats import formats_for
from vitrina.console.words import choose_language, words_for
from vitrina.core.clock import from_datetime, to_datetime
from vitrina.core.errors import MachineError
from vitrina.core.reasons import REASONS, Reason

EN, RU = words_for("en", "Europe/Amsterdam"), words_for("ru", "Europe/Amsterdam")
NOVEMBER = from_datetime(to_datetime(0).replace(year=2026, month=11, day=23, hour=10, minute=42, second=17))


@pytest.mark.parametrize("words", [EN, RU], ids=["en", "ru"])
@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_reason_is_said_with_and_without_parameters(words, code: str) -> None:
    params: dict[str, str | int | float] = {
        "shown": 2,
        "limit": 3,
        "age": 18,
        "days": 30,
        "purpose": "email",
        "at": NOVEMBER,
    }
    for reason in (Reason(code), Reason(code, params), Reason(code, {"other": "x"})):
        said = words.reason(reason)
        assert said and "{" not in said


def test_parameters_stand_in_the_form_of_the_language() -> None:
    reason = Reason("cap.week", {"shown": 2, "limit": 2})
    assert EN.reason(reason) == "Shown 2 of 2 times this week"
    assert RU.reason(reason) == "Показано 2 раза из 2 за неделю"
    assert RU.reason(Reason("exclude.bought", {"days": 30})) == "Уже куплено; пауза 30 дней"
    assert RU.reason(Reason("exclude.bought", {"days": 21})) == "Уже куплено; пауза 21 день"
    assert EN.reason(Reason("schedule.before", {"at": NOVEMBER})) == "Starts 23 Nov 2026 11:42"
    assert RU.reason(Reason("schedule.before", {"at": NOVEMBER})) == "Начнётся 23.11.2026 11:42"
    assert EN.reason(Reason("consent.required", {"purpose": "email"})) == "Needs a consent that was not given: E-mail"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 решение"),
        (2, "2 решения"),
        (5, "5 решений"),
        (11, "11 решений"),
        (21, "21 решение"),
        (112, "112 решений"),
    ],
)
def test_russian_nouns_follow_their_number(count: int, said: str) -> None:
    assert said in RU.ngettext("decisions.count", "decisions.count", count, zone="UTC")


def test_a_message_that_is_not_there_is_a_fault_of_ours() -> None:
    with pytest.raises(MachineError, match="no words"):
        EN.gettext("nothing.like.this")


def test_figures_are_written_as_the_reference_says() -> None:
    en, ru = EN.formats, RU.formats
    nbsp = "\N{NO-BREAK SPACE}"
    assert (en.money(4821000, "EUR"), ru.money(4821000, "EUR")) == ("€48,210.00", f"48{nbsp}210,00{nbsp}€")
    assert (en.money(-30, "EUR"), ru.money(-30, "EUR")) == ("−€0.30", f"−0,30{nbsp}€")
    assert (en.money(500, "JPY"), ru.money(500, "CHF")) == ("¥500", f"5,00{nbsp}CHF")
    assert (en.percent(0.26), ru.percent(0.26)) == ("26%", f"26{nbsp}%")
    assert (en.number(412906), ru.number(412906)) == ("412,906", f"412{nbsp}906")
    assert (en.chance(0.2607, 4), ru.chance(0.2607, 4)) == ("0.2607", "0,2607")
    assert en.chance(0.00001, 4) == f"<{nbsp}0.0001"
    assert (en.date(NOVEMBER), ru.date(NOVEMBER)) == ("23 Nov 2026", "23.11.2026")
    assert en.time(NOVEMBER) == ru.time(NOVEMBER) == "11:42:17"
    assert (en.day(NOVEMBER, NOVEMBER), ru.day(NOVEMBER, NOVEMBER)) == ("23 Nov", "23.11")


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12), st.integers(0, 4))
def test_no_number_is_minus_zero_or_has_a_hyphen(value: float, digits: int) -> None:
    text = EN.formats.decimal(value, digits)
    assert "-" not in text
    assert text.strip("−0.,") or not text.startswith("−")


@given(
    st.datetimes(min_value=to_datetime(0).replace(tzinfo=None), max_value=to_datetime(4 * 10**15).replace(tzinfo=None))
)
def test_a_written_day_is_read_again(moment) -> None:
    instant = from_datetime(moment.replace(tzinfo=to_datetime(0).tzinfo))
    for formats in (EN.formats, RU.formats):
        read = formats.parse_date(formats.date(instant))
        assert read is not None
        assert formats.date(read) == formats.date(instant) and formats.time(read) == "00:00:00"


@pytest.mark.parametrize("text", ["", "soon", "31.02.2026", "2026-13-01", "1 Foo 2026", "23.11", "٣"])
def test_what_is_no_day_is_not_guessed(text: str) -> None:
    assert EN.formats.parse_date(text) is None


def test_an_unknown_zone_is_utc() -> None:
    assert formats_for("en", "Mars/Olympus").zone == "UTC"


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("ru", "ru"),
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("de,en;q=0.1", "en"),
        ("en;q=0.4, ru;q=0.5", "ru"),
        ("*", "en"),
        ("ru;q=x", "en"),
    ],
)
def test_the_best_language_is_taken(accept: str, language: str) -> None:
    assert choose_language(accept) == language
