"""Build the browser tag from its source and note it beside: `make tag`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import rjsmin

import vitrina
from vitrina.service import tag

FOLDER = Path(tag.__file__).parent
SOURCE = FOLDER / "vitrina.js"
MANIFEST = FOLDER / "builds.json"


def minified(source: str) -> bytes:
    """The script without comments and blanks; names stay.

    >>> minified("const a = 1; // one")
    b'const a=1;'
    """
    return str(rjsmin.jsmin(source)).strip().encode()


def builds(known: list[tag.Build], script: bytes, release: str) -> list[tag.Build]:
    """The manifest with this script as its last build. Builds of other releases stay: pages may have pinned them."""
    if known and known[-1].sha256 == tag.note(release, script).sha256:
        return known
    return [*(build for build in known if build.release != release), tag.note(release, script)]


def main() -> None:
    script = minified(SOURCE.read_text(encoding="utf-8"))
    known = tag.manifest() if MANIFEST.exists() else []
    written = builds(known, script, vitrina.__version__)
    (FOLDER / written[-1].file).write_bytes(script)
    MANIFEST.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=2) + b"\n")
    print(f"{written[-1].file}: {tag.gzip_size():,} bytes after gzip, integrity {written[-1].integrity}")


if __name__ == "__main__":
    main()
