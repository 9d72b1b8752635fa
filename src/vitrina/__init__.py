"""Vitrina: personalised marketing that decides, learns and proves what it was worth.

>>> import vitrina
>>> vitrina.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitrina.core.errors import VitrinaError
    from vitrina.workspace import Workspace, init, open  # noqa: A004

__all__ = ["VitrinaError", "Workspace", "__version__", "init", "open"]

__version__ = "0.1.0"

_HOME = {
    "VitrinaError": "vitrina.core.errors",
    "Workspace": "vitrina.workspace",
    "init": "vitrina.workspace",
    "open": "vitrina.workspace",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use, so that `import vitrina` stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 'vitrina' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
