"""Words on the screen, in English and Russian: `words_for("ru").gettext("decisions.title")`.

Messages live in `locale/{en,ru}/LC_MESSAGES/vitrina.po`, read once. A message names its parameters in braces; numbers
and times are written as the language does (`vitrina.console.formats`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from vitrina.console.formats import Formats, formats_for
from vitrina.core.errors import MachineError
from vitrina.core.reasons import Reason

__all__ = ["LANGUAGES", "Words", "choose_language", "words_for"]

LANGUAGES = ("en", "ru")
"""Languages of the console; the first is the one to fall back on."""

_LOCALE = Path(__file__).parent / "locale"
_COUNTS = ("count", "shown", "days", "age")
_TIMES = frozenset({"at", "start", "end", "until", "since", "opens", "closes"})

Forms = tuple[str, ...]


class Words:
    """The words of one language, with times in one zone."""

    def __init__(self, language: str, zone: str = "UTC") -> None:
        self.language = language
        self.formats: Formats = formats_for(language, zone)
        self._messages, self._plural = _catalogue(language)

    def gettext(self, message: str, /, **params: object) -> str:
        """The words of a message with its parameters filled in.

        Raises:
            MachineError: this language lacks the message.
        """
        text = self._forms(message)[0]
        return text.format_map(self._written(params)) if params else text

    def ngettext(self, message: str, _plural: str, count: int, /, **params: object) -> str:
        """The words of a message in the form that goes with `count`, which it may name as {count}."""
        forms = self._forms(message)
        form = forms[min(self._plural(count), len(forms) - 1)]
        return form.format_map(self._written({"count": count, **params}))

    def reason(self, reason: Reason) -> str:
        """A reason in words; one whose parameters are not known is said without them.

        >>> words_for("en").reason(Reason("cap.week", {"shown": 2, "limit": 2}))
        'Shown 2 of 2 times this week'
        """
        message = f"reason.{reason.code}"
        count = next((reason.params[name] for name in _COUNTS if isinstance(reason.params.get(name), int)), 0)
        try:
            return self.ngettext(message, message, int(count), **reason.params)
        except KeyError:
            return self.gettext(f"{message}.plain")

    def has(self, message: str) -> bool:
        """Whether this language knows the message."""
        return message in self._messages

    def _forms(self, message: str) -> Forms:
        forms = self._messages.get(message)
        if forms is None:
            raise MachineError(
                f"the language {self.language} has no words for {message}.",
                code="words.missing",
                where=f"console/locale/{self.language}",
                cure="Add the message to the locale file.",
            )
        return forms

    def _written(self, params: Mapping[str, object]) -> dict[str, str]:
        return {name: self._write(name, value) for name, value in params.items()}

    def _write(self, name: str, value: object) -> str:
        if isinstance(value, bool) or value is None:
            return str(value)
        if isinstance(value, int):
            return self.formats.moment(value) if name in _TIMES else self.formats.number(value)
        if isinstance(value, float):
            return self.formats.decimal(value)
        if name == "purpose" and self.has(f"purpose.{value}"):
            return self.gettext(f"purpose.{value}")
        return str(value)


@cache
def _catalogue(language: str) -> tuple[dict[str, Forms], Callable[[int], int]]:
    from babel.messages.pofile import read_po

    path = _LOCALE / language / "LC_MESSAGES" / "vitrina.po"
    with path.open("rb") as file:
        book = read_po(file, locale=language)
    messages: dict[str, Forms] = {}
    for message in book:
        if not message.id:
            continue
        key = message.id if isinstance(message.id, str) else message.id[0]
        messages[key] = (message.string,) if isinstance(message.string, str) else tuple(message.string or ("",))
    return messages, _plural_russian if language == "ru" else _plural_english


def _plural_english(count: int) -> int:
    return 0 if count == 1 else 1


def _plural_russian(count: int) -> int:
    """Form of a Russian noun after a number: 0 for 1, 21, 101…; 1 for 2–4, 22–24…; 2 for the rest."""
    if count % 10 == 1 and count % 100 != 11:
        return 0
    return 1 if 2 <= count % 10 <= 4 and not 12 <= count % 100 <= 14 else 2


def choose_language(accept: str, default: str = "en") -> str:
    """The best of our languages for an `Accept-Language` header.

    >>> choose_language("de, ru;q=0.8, en;q=0.5"), choose_language("fr"), choose_language("")
    ('ru', 'en', 'en')
    """
    best, weight = default, 0.0
    for part in accept[:200].split(","):
        tag, _, rest = part.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        try:
            quality = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and quality > weight:
            best, weight = language, quality
    return best


@cache
def _words(language: str, zone: str) -> Words:
    return Words(language, zone)


def words_for(accept: str, zone: str = "UTC", default: str = "en") -> Words:
    """The words for a language tag or an `Accept-Language` header, with times in `zone` (IANA name)."""
    return _words(choose_language(accept, default), zone)
