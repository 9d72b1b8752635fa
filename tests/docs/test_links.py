"""Links between pages lead somewhere, and every page for users has its Russian twin."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
FOR_USERS = ("tutorials", "how-to", "concepts")


def pages() -> list[Path]:
    """Every Markdown page of the project, whether committed yet or not."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


def anchors(page: Path) -> set[str]:
    """The fragments that the headings of a page can be reached by."""
    found: set[str] = set()
    for line in FENCE.sub("", page.read_text(encoding="utf-8")).splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    broken: list[str] = []
    for match in LINK.finditer(text):
        target, _, fragment = match["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        place = (page.parent / target).resolve() if target else page
        missing = not place.exists()
        if missing or (fragment and place.suffix == ".md" and fragment not in anchors(place)):
            broken.append(match["target"])
    assert broken == []


@pytest.mark.parametrize("folder", FOR_USERS)
def test_pages_for_users_are_in_both_languages(folder: str) -> None:
    names = {page.name for page in (ROOT / "docs" / folder).glob("*.md")}
    english = {name for name in names if not name.endswith(".ru.md")}
    assert english
    assert {f"{name.removesuffix('.md')}.ru.md" for name in english} == names - english


def test_no_page_is_empty() -> None:
    assert [str(page.relative_to(ROOT)) for page in pages() if len(page.read_text(encoding="utf-8").split()) < 30] == []


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [target for target in phony[1].split() if f"make {target} " not in said] == []
