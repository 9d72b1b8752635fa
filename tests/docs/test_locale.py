"""Both languages of the console say everything: templates, Python, reason codes."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from vitrina.core.reasons import REASONS

SOURCE = Path(__file__).parent.parent.parent / "src" / "vitrina"
LOCALE = SOURCE / "console" / "locale"
LANGUAGES = ("en", "ru")
METHODS = [("**/templates/**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None, "pgettext": ((1, "c"), 2)}
NAME = re.compile(r"%\((\w+)\)|\{(\w+)\}")


def catalogue(language: str) -> Catalog:
    path = LOCALE / language / "LC_MESSAGES" / "vitrina.po"
    return read_po(BytesIO(path.read_bytes()), locale=language)


def used() -> set[str]:
    """Every message id that a template or a Python module asks for, and one for each reason code."""
    found = {f"reason.{code}" for code in REASONS}
    for _, _, message, _, _ in extract_from_dir(
        SOURCE, method_map=METHODS, keywords=KEYWORDS, options_map={"**/templates/**.html": {"silent": "false"}}
    ):
        found.add(message if isinstance(message, str) else message[0])
    return found - {""}


def identifier(message_id: str | tuple[str, ...] | list[str]) -> str:
    return message_id if isinstance(message_id, str) else message_id[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_there(language: str) -> None:
    known = {identifier(message.id) for message in catalogue(language) if message.id}
    assert sorted(used() - known) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_message_is_empty_or_unsure(language: str) -> None:
    book = catalogue(language)
    unsure = [
        identifier(message.id)
        for message in book
        if message.id
        and (message.fuzzy or not all([message.string] if isinstance(message.string, str) else message.string))
    ]
    assert unsure == []
    assert not book.obsolete


def test_both_languages_know_the_same_messages_with_the_same_parameters() -> None:
    english = {identifier(message.id): message for message in catalogue("en") if message.id}
    russian = {identifier(message.id): message for message in catalogue("ru") if message.id}
    assert set(english) == set(russian)
    for key, message in english.items():
        assert names(message.string) == names(russian[key].string), key


def names(string: str | tuple[str, ...] | list[str]) -> set[str]:
    """The parameters that a message prints."""
    forms = [string] if isinstance(string, str) else string
    return {first or second for form in forms for first, second in NAME.findall(form)}


def test_no_words_stand_in_a_template_alone() -> None:
    """A template's text is asked for through gettext: what is left outside of tags holds no letters."""
    bare: list[str] = []
    for path in sorted((SOURCE / "console").rglob("templates/**/*.html")):
        text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"<(script|style|svg|title)\b.*?</\1>|<!--.*?-->|<[^>]*>", "", text, flags=re.DOTALL)
        text = re.sub(r"&\w+;|Vitrina|EN|RU|Русский|English", "", text)
        bare += [f"{path.name}: {line.strip()}" for line in text.splitlines() if re.search(r"[^\W\d_]{2}", line)]
    assert bare == []
