"""What the code has, the reference pages name: every command, setting, event, reason code and public name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import figures, reference


@pytest.mark.parametrize("name", list(reference.PAGES))
def test_reference_page_is_current(name: str) -> None:
    path = reference.REFERENCE / f"{name}.md"
    assert path.exists(), f"{path.name} is missing: run `make reference`"
    assert path.read_text(encoding="utf-8") == reference.page(name), f"{path.name} is out of date: run `make reference`"


def test_example_settings_are_current(tmp_path: Path) -> None:
    from vitrina.core.config import Settings, load, template

    text = reference.EXAMPLE.read_text(encoding="utf-8")
    assert text == template(), f"{reference.EXAMPLE.name} is out of date: run `make reference`"
    stated = tmp_path / "vitrina.toml"
    stated.write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    settings, origins = load(stated, {})
    assert settings == Settings()
    assert set(origins.values()) == {"file"}


def test_every_part_of_a_mapping_is_documented_in_both_languages() -> None:
    from vitrina.collect import mapping

    assert mapping.KIND_WORDS.keys() == mapping.KINDS.keys()
    structs = (mapping.SourceSettings, mapping.Condition)
    names = [*mapping.FIELDS, *mapping.KINDS, *(field for struct in structs for field in struct.__struct_fields__)]
    for page in (read("mapping"), read("mapping.ru")):
        assert [name for name in names if f"| `{name}` |" not in page] == []


def read(name: str) -> str:
    return (reference.REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def test_every_command_is_documented() -> None:
    from vitrina.cli import COMMANDS, GROUPS

    page = read("commands")
    names = [*COMMANDS, *(f"{group} {name}" for group, (_, members) in GROUPS.items() for name in members)]
    assert [name for name in names if f"## `vitrina {name}`" not in page] == []


def test_every_command_says_what_it_does() -> None:
    from vitrina.cli import COMMANDS, GROUPS

    commands = [*COMMANDS.values(), *(command for _, members in GROUPS.values() for command in members.values())]
    assert [command.__name__ for command in commands if not (command.__doc__ or "").strip()] == []


def test_every_setting_is_documented_and_explained() -> None:
    from vitrina.core.config import load, settings_table

    page = read("settings")
    table = settings_table(*load(Path("no-such-vitrina.toml"), {}))
    assert [setting.name for setting in table if f"| `{setting.name}` |" not in page] == []
    assert [setting.name for setting in table if not setting.description] == []


def test_every_built_in_event_is_documented() -> None:
    from vitrina.collect import tracking_plan

    page = read("events")
    names = [event.event for event in tracking_plan.BUILT_IN]
    assert "Order Completed" in names
    assert [name for name in names if f"## `{name}`" not in page] == []


def test_every_reason_code_is_documented() -> None:
    from vitrina.core.reasons import REASONS, REFUSALS

    page = read("reasons")
    assert [code for code in REASONS if f"| `{code}` |" not in page] == []
    assert set(REFUSALS) <= set(REASONS)


def test_readme_figures_come_from_the_results() -> None:
    for page in figures.PAGES:
        text = (figures.ROOT / page).read_text(encoding="utf-8")
        assert "<!-- figures:main-loop -->" in text
        assert figures.filled(text, page) == text, f"{page}: run `make figures`"
