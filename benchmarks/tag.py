"""The size of the browser tag, as a row for a result."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import row
from vitrina.service import tag


def size_row() -> dict[str, Any]:
    """Bytes of the tag after gzip, as a page loads it."""
    return row("tag-size", "browser tag after gzip", [tag.gzip_size()], "bytes", target=tag.LARGEST)
