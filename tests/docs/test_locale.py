"""Both languages of the console say everything: templates, Python, reason codes."""

from __future__ import annotations

import ast
import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes

from vitrina.core.access import SCOPES
from vitrina.core.reasons import REASONS

SOURCE = Path(__file__).parent.parent.parent / "src" / "vitrina"
LOCALE = SOURCE / "console" / "locale"
LANGUAGES = ("en", "ru")
KEYWORDS = {"_", "gettext", "ngettext"}
NAME = re.compile(r"%\((\w+)\)|\{(\w+)\}")


def catalogue(language: str) -> Catalog:
    path = LOCALE / language / "LC_MESSAGES" / "vitrina.po"
    return read_po(BytesIO(path.read_bytes()), locale=language)


def used() -> set[str]:
    """Every message id that a template or a Python module asks for, and one for each reason code and scope."""
    found = {f"reason.{code}" for code in REASONS} | {f"scope.{scope}" for scope in SCOPES}
    for path in SOURCE.rglob("*.py"):
        found |= set(python_literals(path))
    for path in templates():
        for call in asked(path):
            found |= set(literals(call.args[0]))
    return found - {""}


def python_literals(path: Path) -> list[str]:
    """The message ids that a module asks for in so many words."""
    found: list[str] = []
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and call.args:
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name in KEYWORDS:
                found += choices(call.args[0])
    return found


def choices(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*choices(node.body), *choices(node.orelse)]
    return []


def templates() -> list[Path]:
    return sorted((SOURCE / "console").rglob("templates/**/*.html"))


def asked(path: Path) -> list[nodes.Call]:
    """The calls of a template that ask for words."""
    tree = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(path.read_text(encoding="utf-8"))
    calls = [call for call in tree.find_all(nodes.Call) if call.args]
    return [call for call in calls if isinstance(call.node, nodes.Name) and call.node.name in KEYWORDS]


def literals(node: nodes.Node) -> list[str]:
    """The message ids that an expression can be: both branches of a choice; nothing for one put together."""
    if isinstance(node, nodes.Const):
        return [str(node.value)]
    if isinstance(node, nodes.CondExpr):
        return [*literals(node.expr1), *(literals(node.expr2) if node.expr2 is not None else [])]
    return []


def beginnings(node: nodes.Node) -> list[str]:
    """What a message id that is put together begins with: `'role.' ~ user.role`."""
    if isinstance(node, nodes.Concat) and isinstance(node.nodes[0], nodes.Const):
        return [str(node.nodes[0].value)]
    return []


def identifier(message_id: str | tuple[str, ...] | list[str]) -> str:
    return message_id if isinstance(message_id, str) else message_id[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_there(language: str) -> None:
    known = {identifier(message.id) for message in catalogue(language) if message.id}
    assert sorted(used() - known) == []


def test_messages_put_together_have_a_family() -> None:
    known = [identifier(message.id) for message in catalogue("en") if message.id]
    families = {start for path in templates() for call in asked(path) for start in beginnings(call.args[0])}
    assert [start for start in families if not any(name.startswith(start) for name in known)] == []


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
    for path in templates():
        text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"<(script|style|svg|title|code)\b.*?</\1>|<!--.*?-->|<[^>]*>", "", text, flags=re.DOTALL)
        text = re.sub(r"&\w+;|Vitrina|EN|RU|Русский|English", "", text)
        bare += [f"{path.name}: {line.strip()}" for line in text.splitlines() if re.search(r"[^\W\d_]{2}", line)]
    assert bare == []
