"""Vitrina: personalised marketing that learns, and proves what it was worth.

`vitrina.open(folder)` opens a workspace; `vitrina.init(folder)` makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrina.workspace import Workspace, init, open

__all__ = ["Workspace", "__version__", "init", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in {"Workspace", "init", "open"}:
        from vitrina import workspace

        return getattr(workspace, name)
    raise AttributeError(f"module 'vitrina' has no attribute {name!r}")
