"""Names that the package exports are there, and the package exports what its reference says."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import vitrina

ROOT = Path(__file__).parent.parent.parent


def module_names() -> list[str]:
    found = pkgutil.walk_packages(vitrina.__path__, "vitrina.", onerror=lambda name: None)
    return ["vitrina", *(module.name for module in found if ".migrations." not in module.name)]


@pytest.mark.parametrize("name", module_names())
def test_exported_names_are_there(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", None)
    if exported is None:
        assert not public_definitions(module.__file__), f"{name} defines public names and exports none: write __all__"
        return
    assert len(exported) == len(set(exported))
    assert [entry for entry in exported if not hasattr(module, entry)] == []


def public_definitions(path: str | None) -> list[str]:
    """Public functions and classes that a module defines itself."""
    if path is None:
        return []
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.mark.parametrize("name", module_names())
def test_exported_functions_have_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    silent = [
        entry
        for entry in getattr(module, "__all__", ())
        if callable(value := getattr(module, entry))
        and getattr(value, "__module__", "").startswith("vitrina")
        and hasattr(value, "__name__")
        and not (getattr(value, "__doc__", None) or "").strip()
    ]
    assert silent == []


def test_reference_lists_the_public_names() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^## `vitrina\.(\w+)", page, re.MULTILINE))
    assert listed == set(vitrina.__all__)


def test_version_is_the_one_of_the_package() -> None:
    from importlib.metadata import version

    assert vitrina.__version__ == version("vitrina")
    assert f'version = "{vitrina.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vitrina.no_such_name  # type: ignore[attr-defined]
