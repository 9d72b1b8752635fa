"""The browser tag: one small script that a shop puts on its pages, served from the package as it was built.

`vitrina.js` is the source, `make tag` writes `vitrina-RELEASE.min.js` beside it and notes it in `builds.json`. Every
build is served at a path that holds its hash and never changes, for pages that pin it with Subresource Integrity; the
latest one also at `/v1/tag.js`.
"""

from __future__ import annotations

import gzip
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256, sha384
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, get

__all__ = ["HANDLERS", "LARGEST", "Build", "gzip_size", "latest", "manifest", "note"]

LARGEST = 3_072
"""Bytes that the tag may have after gzip."""

_FOLDER = Path(__file__).parent
_MANIFEST = _FOLDER / "builds.json"
_MIME = "text/javascript"
_LATEST = "public, max-age=600, stale-while-revalidate=86400"
_FOREVER = "public, max-age=31536000, immutable"


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One build of the tag.

    Attributes:
        release: version of Vitrina that it came with first.
        file: its name in this folder.
        sha256: of the file, hex.
        integrity: what a page writes into `integrity` (Subresource Integrity, W3C).
    """

    release: str
    file: str
    sha256: str
    integrity: str

    @property
    def path(self) -> str:
        """Where exactly this build is served, now and after the next release."""
        return f"/v1/tag.{self.sha256[:16]}.js"

    def read(self) -> bytes:
        """The script."""
        return (_FOLDER / self.file).read_bytes()


def note(release: str, script: bytes) -> Build:
    """What the manifest says of a script that was built for a release."""
    return Build(
        release=release,
        file=f"vitrina-{release}.min.js",
        sha256=sha256(script).hexdigest(),
        integrity="sha384-" + b64encode(sha384(script).digest()).decode(),
    )


def manifest() -> list[Build]:
    """All builds, the latest last."""
    return msgspec.json.decode(_MANIFEST.read_bytes(), type=list[Build])


def latest() -> Build:
    """The build at `/v1/tag.js`."""
    return manifest()[-1]


def gzip_size() -> int:
    """Bytes of the latest build as they go over the wire."""
    return len(_packed(latest()))


@lru_cache
def _packed(build: Build) -> bytes:
    return gzip.compress(build.read(), 9, mtime=0)


@lru_cache
def _plain(build: Build) -> bytes:
    return build.read()


_PINNED = {build.path: build for build in manifest()}
_NEWEST = latest()


@get("/v1/tag.js", sync_to_thread=False, media_type=_MIME, tags=["tag"], summary="The browser tag")
def get_tag(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The script that shows decisions on a page."""
    return _answer(request, _NEWEST, _LATEST)


@get(list(_PINNED), sync_to_thread=False, media_type=_MIME, include_in_schema=False)
def get_pinned_tag(request: Request[Any, Any, Any]) -> Response[bytes]:
    """One build, the same for ever."""
    return _answer(request, _PINNED[request.url.path], _FOREVER)


def _answer(request: Request[Any, Any, Any], build: Build, cache: str) -> Response[bytes]:
    mark = f'W/"{build.sha256[:16]}"'
    headers = {
        "access-control-allow-origin": "*",
        "cache-control": cache,
        "content-location": build.path,
        "cross-origin-resource-policy": "cross-origin",
        "etag": mark,
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    if mark in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(_packed(build), headers={**headers, "content-encoding": "gzip"}, media_type=_MIME)
    return Response(_plain(build), headers=headers, media_type=_MIME)


HANDLERS = [get_tag, get_pinned_tag]
