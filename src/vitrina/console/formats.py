"""Numbers, money, chances and times as English and Russian write them.

Language changes the form, never currency or value. Russian: no-break space in thousands and before % and the currency,
decimal comma, 23.11.2026. English: minus is U+2212, 23 Nov 2026. Time has 24 hours in both.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vitrina.core.clock import Micros, from_datetime, to_datetime
from vitrina.core.money import exponent, from_minor

__all__ = ["Formats", "formats_for"]

_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "RUB": "₽", "JPY": "¥"}


class Formats:
    """How one language writes figures, with times in one zone."""

    def __init__(self, language: str, zone: str) -> None:
        self._russian = language == "ru"
        self._comma = "," if self._russian else "."
        self._thousand = _SPACE if self._russian else ","
        try:
            self._zone = ZoneInfo(zone)
            self.zone = zone
        except (ZoneInfoNotFoundError, ValueError):
            self._zone, self.zone = ZoneInfo("UTC"), "UTC"

    def decimal(self, value: float | Decimal, digits: int | None = None) -> str:
        r"""A number with `digits` decimals, or as many as it needs up to four.

        >>> formats_for("en", "UTC").decimal(-1234.5), formats_for("ru", "UTC").decimal(1234.5).replace("\xa0", "_")
        ('−1,234.5', '1_234,5')
        """
        text = f"{value:,.4f}".rstrip("0").rstrip(".") if digits is None else f"{value:,.{digits}f}"
        if not text.strip("-0.,"):
            text = text.removeprefix("-")
        swap = {",": self._thousand, ".": self._comma, "-": _MINUS}
        return "".join(swap.get(sign, sign) for sign in text)

    def number(self, value: int) -> str:
        """A whole number with its thousands apart."""
        return self.decimal(value, 0)

    def chance(self, value: float, digits: int = 3) -> str:
        """A probability from 0 to 1; a positive one that would read as zero is written as less than the smallest."""
        smallest = 10.0**-digits
        if 0 < value < smallest / 2:
            return f"<{_SPACE}{self.decimal(smallest, digits)}"
        return self.decimal(value, digits)

    def percent(self, value: float, digits: int = 0) -> str:
        r"""A fraction as a percentage.

        >>> formats_for("en", "UTC").percent(0.26), formats_for("ru", "UTC").percent(0.26).replace("\xa0", "_")
        ('26%', '26_%')
        """
        text = self.decimal(value * 100, digits)
        return f"{text}{_SPACE}%" if self._russian else f"{text}%"

    def money(self, minor: float, currency: str) -> str:
        r"""An amount in minor units, with the decimals of its currency.

        >>> formats_for("en", "UTC").money(-30, "EUR")
        '−€0.30'
        >>> formats_for("ru", "UTC").money(3420, "EUR").replace("\xa0", "_")
        '34,20_€'
        """
        text = self.decimal(from_minor(round(minor), currency), exponent(currency))
        sign = _SIGNS.get(currency)
        if self._russian or sign is None:
            return f"{text}{_SPACE}{sign or currency}"
        return f"{_MINUS}{sign}{text[1:]}" if text.startswith(_MINUS) else f"{sign}{text}"

    def local(self, instant: Micros) -> datetime:
        """The instant in the zone."""
        return to_datetime(instant).astimezone(self._zone)

    def date(self, instant: Micros) -> str:
        """The day: 23 Nov 2026, 23.11.2026."""
        day = self.local(instant)
        return f"{day:%d.%m.%Y}" if self._russian else f"{day.day} {_MONTHS[day.month - 1]} {day.year}"

    def day(self, instant: Micros, now: Micros) -> str:
        """The day, without the year when that is the present one: 22 Nov, 22.11."""
        day = self.local(instant)
        if day.year != self.local(now).year:
            return self.date(instant)
        return f"{day:%d.%m}" if self._russian else f"{day.day} {_MONTHS[day.month - 1]}"

    def time(self, instant: Micros) -> str:
        """The time of day to the second."""
        return f"{self.local(instant):%H:%M:%S}"

    def moment(self, instant: Micros, *, seconds: bool = False) -> str:
        """Day and time."""
        clock = f"{self.local(instant):%H:%M:%S}" if seconds else f"{self.local(instant):%H:%M}"
        return f"{self.date(instant)}{' ' if not seconds else ', '}{clock}"

    def parse_date(self, text: str) -> Micros | None:
        """The first instant of a day written as 23.11.2026, 23 Nov 2026 or 2026-11-23; None when it is none of these.

        >>> formats_for("en", "UTC").parse_date("23 Nov 2026") == formats_for("ru", "UTC").parse_date("23.11.2026")
        True
        """
        text = " ".join(text.split())
        parts = text.split(" ")
        try:
            if len(parts) == 3:
                month = [name.lower() for name in _MONTHS].index(parts[1][:3].lower()) + 1
                day = datetime(int(parts[2]), month, int(parts[0]), tzinfo=self._zone)
            elif "." in text:
                number, month_text, year = text.split(".")
                day = datetime(int(year), int(month_text), int(number), tzinfo=self._zone)
            else:
                day = datetime.fromisoformat(text[:10]).replace(tzinfo=self._zone)
            return from_datetime(day)
        except (ValueError, OverflowError):
            return None


@cache
def formats_for(language: str, zone: str) -> Formats:
    """The formats of a language (`en` or `ru`) with times in `zone`; an unknown zone counts as UTC."""
    return Formats(language, zone)
