"""The tag as it is built and served: the committed build is what the source gives, small, cacheable, pinnable."""

from __future__ import annotations

import base64
import hashlib

import httpx
import pytest

import vitrina
from scripts import tag as building
from tests.service.conftest import Running
from vitrina.service import tag


def test_the_committed_build_is_what_the_source_gives() -> None:
    script = building.minified(building.SOURCE.read_text(encoding="utf-8"))
    assert tag.latest().read() == script, "run `make tag`"
    assert building.builds(tag.manifest(), script, vitrina.__version__) == tag.manifest()


def test_it_is_small() -> None:
    assert tag.gzip_size() <= tag.LARGEST == 3 * 1024


@pytest.mark.parametrize("build", tag.manifest(), ids=lambda build: build.file)
def test_every_build_is_as_the_manifest_says(build: tag.Build) -> None:
    assert tag.note(build.release, build.read()) == build
    assert build.integrity.removeprefix("sha384-") == base64.b64encode(hashlib.sha384(build.read()).digest()).decode()


def test_a_build_of_an_earlier_release_stays() -> None:
    first, second = tag.note("1.0.0", b"one"), tag.note("1.1.0", b"two")
    assert building.builds([], b"one", "1.0.0") == [first]
    assert building.builds([first], b"two", "1.0.0") == [tag.note("1.0.0", b"two")]
    assert building.builds([first], b"two", "1.1.0") == [first, second]
    assert building.builds([first, second], b"two", "1.2.0") == [first, second]


def test_it_is_served_to_anybody(running: Running) -> None:
    with running.client() as nobody:
        answer = nobody.get("/v1/tag.js", headers={"origin": "https://shop.example"})
    assert answer.status_code == 200
    assert answer.content == tag.latest().read()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == tag.gzip_size()
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("public, max-age=")
    assert "immutable" not in answer.headers["cache-control"]
    assert answer.headers["content-location"] == tag.latest().path
    assert "set-cookie" not in answer.headers


def test_without_gzip_it_is_the_same_script(running: Running) -> None:
    with running.client() as nobody:
        answer = nobody.get("/v1/tag.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert (answer.headers["vary"], answer.content) == ("accept-encoding", tag.latest().read())


def test_a_known_script_is_not_sent_again(running: Running) -> None:
    with running.client() as nobody:
        known = nobody.get("/v1/tag.js").headers["etag"]
        again = nobody.get("/v1/tag.js", headers={"if-none-match": known})
        other = nobody.get("/v1/tag.js", headers={"if-none-match": 'W/"0123"'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", known)
    assert other.status_code == 200


@pytest.mark.parametrize("build", tag.manifest(), ids=lambda build: build.file)
def test_a_pinned_build_never_changes(running: Running, build: tag.Build) -> None:
    with running.client() as nobody:
        answer = nobody.get(build.path)
        assert nobody.get("/v1/tag.0000000000000000.js").status_code == 404
    assert (answer.status_code, answer.content) == (200, build.read())
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_decide_takes_the_write_key_in_the_header_only(page: httpx.Client, running: Running, catalogue: None) -> None:
    """The tag sends it there, in a body without a content type of its own, and pays for that with a preflight."""
    with running.client() as nobody:
        body = f'{{"writeKey": "{running.write_key}", "placement": "home", "anonymousId": "v"}}'
        refused = nobody.post("/v1/decide", content=body, headers={"content-type": "text/plain"})
    assert (refused.status_code, refused.json()["code"]) == (401, "key.missing")
    plain = page.post(
        "/v1/decide", content='{"placement": "home", "anonymousId": "v"}', headers={"content-type": "text/plain"}
    )
    assert plain.status_code == 200
