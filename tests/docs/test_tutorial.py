"""The tutorial is true: its commands run as they stand, in order, against a server of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import vitrina

pytestmark = pytest.mark.long

TUTORIALS = Path(__file__).parent.parent.parent / "docs" / "tutorials"
FENCE = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
BEFORE = """
set -euo pipefail
last() { grep -o "\\"$1\\":\\"[^\\"]*\\"" decided | tail -1 | cut -d'"' -f4; }
up() { for _ in $(seq 200); do curl -sf "$1/readyz" >up && return; sleep 0.2; done; return 1; }
"""
"""`last FIELD` is a field of the newest decision, `up URL` waits for the server."""


def by_hand(text: str, address: str) -> str:
    """What a reader does with the commands: keeps the key, opens a second terminal, copies ids from the answer."""
    for said, done in (
        (". .venv/bin/activate\n", ""),
        ("http://127.0.0.1:8400", address),
        ("curl -sS", "curl -sS --fail-with-body"),
        ("--kind secret\n", "--kind secret | tee key\n"),
        ("users create you@example.com\n", 'users create you@example.com <<<"ten characters or more"\n'),
        ("serve\n", f"serve --port {address.rpartition(':')[2]} & server=$!\nup {address}\n"),
        ('"decisionId": "…"', '"decisionId": "\'$(last decisionId)\'"'),
        ('"offerId": "…"', '"offerId": "\'$(last offerId)\'"'),
        ("read-out home\n", "read-out home || test $? = 3\n"),
        ("vitrina -w tea-shop erase", 'kill -INT $server; wait $server || test $? = 130\nvitrina -w tea-shop erase'),
    ):  # fmt: skip
        assert said in text, f"the tutorial no longer says {said!r}"
        text = text.replace(said, done)
    text = re.sub(r"^export SECRET=….*$", "export SECRET=$(awk '{print $2}' key)", text, flags=re.MULTILINE)
    return re.sub(r"(/v1/decide -d .*)$", r"\1 | tee -a decided", text, flags=re.MULTILINE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("page", ["first-shop.md", "first-shop.ru.md"])
def test_the_tutorial_can_be_followed(page: str, tmp_path: Path) -> None:
    assert shutil.which("curl"), "the tutorial is walked with curl"
    blocks = FENCE.findall((TUTORIALS / page).read_text(encoding="utf-8"))
    script = BEFORE + by_hand("\n".join(blocks), f"http://127.0.0.1:{free_port()}")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": programs}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    answers = re.findall(r'\{"decisionId".*?"expiresAt":"[^"]*"\}', (tmp_path / "decided").read_text(encoding="utf-8"))
    before, after = (json.loads(answer) for answer in answers)
    assert not before["personalised"]
    assert 0.1 < before["items"][0]["probability"] < 0.7
    assert after["personalised"]
    assert after["basis"]["record"]
    assert re.search(r"\boutcomes\s+1\s", done.stdout)
    assert re.search(r"refused\s+thin", done.stdout)
    assert re.search(r"more people\s+\d", done.stdout)
    with vitrina.open(tmp_path / "tea-shop") as workspace:
        left = workspace.summary()
    assert (left.events, left.decisions, left.profiles_known) == (0, 0, 0)
