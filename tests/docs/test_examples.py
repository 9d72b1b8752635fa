"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def modules() -> list[str]:
    """Every module with an example, as a dotted name."""
    paths = [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]
    found: list[str] = []
    for path in sorted(path for path in paths if ">>>" in path.read_text(encoding="utf-8")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append(".".join(part for part in parts if part not in {"src", "__init__"}))
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_of_a_module(name: str) -> None:
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert done.attempted
    assert done.failed == 0
