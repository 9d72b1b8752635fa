"""A predicate in words, English and Russian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vitrina.core.errors import UserError
from vitrina.core.predicate import AllOf, AnyOf, Compare, InList, Missing, Not, Predicate, Scalar

__all__ = ["LOCALES", "describe"]


class _Words(NamedTuple):
    """What a language needs to say a rule."""

    equal: str
    different: str
    less: str
    at_most: str
    more: str
    at_least: str
    one_of: str
    missing: str
    both: str
    either: str
    opposite: str
    everyone: str
    nobody: str
    yes: str
    no: str
    trait: str
    context: str
    quotes: str
    point: str
    space: str


_WORDS = {
    "en": _Words(
        equal="{field} is {value}",
        different="{field} is known and is not {value}",
        less="{field} is less than {value}",
        at_most="{field} is at most {value}",
        more="{field} is more than {value}",
        at_least="{field} is at least {value}",
        one_of="{field} is one of {value}",
        missing="{field} is not known",
        both=" and ",
        either=" or ",
        opposite="it is not so that {rule}",
        everyone="everyone",
        nobody="nobody",
        yes="yes",
        no="no",
        trait="trait “{name}”",
        context="page’s “{name}”",
        quotes="“{text}”",
        point=".",
        space=",",
    ),
    "ru": _Words(
        equal="{field} — {value}",
        different="{field}: известно и не {value}",
        less="{field} — меньше {value}",
        at_most="{field} — не больше {value}",
        more="{field} — больше {value}",
        at_least="{field} — не меньше {value}",
        one_of="{field} — одно из: {value}",
        missing="{field}: неизвестно",
        both=" и ",
        either=" или ",
        opposite="неверно, что {rule}",
        everyone="все",
        nobody="никто",
        yes="да",
        no="нет",
        trait="свойство «{name}»",
        context="«{name}» страницы",
        quotes="«{text}»",
        point=",",
        space="\u00a0",
    ),
}

LOCALES = tuple(_WORDS)

_COMPARISONS = {"==": "equal", "!=": "different", "<": "less", "<=": "at_most", ">": "more", ">=": "at_least"}


def describe(predicate: Predicate, locale: str = "en", fields: Mapping[str, str] | None = None) -> str:
    """The rule as a phrase, without a full stop.

    Args:
        predicate: the rule.
        locale: en or ru.
        fields: words for field names (`vitrina.understand.features.commerce.feature_words`); others stand as they are.

    Raises:
        UserError: there are no words in that language.

    >>> words = {"orders_90d": "orders in 90 days"}
    >>> describe(AllOf((Compare("orders_90d", ">=", 2), Missing("trait.city"))), "en", words)
    'orders in 90 days is at least 2 and trait “city” is not known'
    >>> describe(Compare("trait.city", "==", "Тверь"), "ru")
    'свойство «city» — «Тверь»'
    """
    if locale not in _WORDS:
        raise UserError(f"there are no words in {locale}.", code="locale.unknown", cure=f"Use {' or '.join(LOCALES)}.")
    return _Speaker(_WORDS[locale], fields or {}).say(predicate, inside=False)


class _Speaker:
    """Says rules in one language."""

    def __init__(self, words: _Words, fields: Mapping[str, str]) -> None:
        self.words = words
        self.fields = fields

    def say(self, predicate: Predicate, *, inside: bool) -> str:
        """The phrase; `inside` puts brackets around more than one rule."""
        match predicate:
            case Compare(field=field, op=op, value=value):
                phrase: str = getattr(self.words, _COMPARISONS[op])
                return phrase.format(field=self._field(field), value=self._value(value))
            case InList(field=field, values=values):
                if not values:
                    return self.words.nobody
                return self.words.one_of.format(field=self._field(field), value=", ".join(map(self._value, values)))
            case Missing(field=field):
                return self.words.missing.format(field=self._field(field))
            case Not(inner=inner):
                return self.words.opposite.format(rule=self.say(inner, inside=True))
            case AllOf(inner=several):
                return self._join(several, self.words.both, self.words.everyone, inside=inside)
            case AnyOf(inner=several):
                return self._join(several, self.words.either, self.words.nobody, inside=inside)

    def _join(self, several: tuple[Predicate, ...], link: str, empty: str, *, inside: bool) -> str:
        if len(several) < 2:
            return self.say(several[0], inside=inside) if several else empty
        phrase = link.join(self.say(inner, inside=True) for inner in several)
        return f"({phrase})" if inside else phrase

    def _field(self, field: str) -> str:
        prefix, dot, name = field.partition(".")
        if dot and prefix in ("trait", "context") and field not in self.fields:
            return (self.words.trait if prefix == "trait" else self.words.context).format(name=name)
        return self.fields.get(field, field)

    def _value(self, value: Scalar) -> str:
        if isinstance(value, bool):
            return self.words.yes if value else self.words.no
        if isinstance(value, str):
            return self.words.quotes.format(text=value)
        whole, dot, rest = f"{value:,}".partition(".") if isinstance(value, int) else f"{value:,.15g}".partition(".")
        return whole.replace(",", self.words.space) + (self.words.point + rest if dot else "")
