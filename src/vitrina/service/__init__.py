"""The HTTP service: collect, decide, catalogue, people, operations. The contract is docs/reference/http.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrina.service.app import create_app
    from vitrina.service.server import run, serve

__all__ = ["create_app", "run", "serve"]

_HOME = {"create_app": "vitrina.service.app", "run": "vitrina.service.server", "serve": "vitrina.service.server"}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'vitrina.service' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
