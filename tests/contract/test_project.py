"""Requirements are hashed, name no index and hold what pyproject.toml asks for."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCKS = ("core", "server", "build", "dev", "uv")


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_hashed_and_names_no_place(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|file:|\s/\w|\s@\s", text)
    packages = re.findall(r"^[a-z][\w.-]*==.*$", text, re.MULTILINE)
    assert packages
    assert [line for line in packages if not line.rstrip().endswith("\\")] == []


def locked(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9][\w.-]*)==", text, re.MULTILINE))


def wanted(requirements: list[str]) -> set[str]:
    names = {re.split(r"[\[<>=!;\s]", requirement)[0] for requirement in requirements}
    return names - {"vitrina"}


def test_locks_hold_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wanted(project["dependencies"]) <= locked("core")
    extras = project["optional-dependencies"]
    assert wanted(extras["dev"] + extras["bench"]) <= locked("dev")
    assert wanted(project["dependencies"] + extras["postgres"] + extras["otel"]) <= locked("server")
    assert locked("core") <= locked("server") <= locked("dev")
    assert wanted(project_build_requirements()) <= locked("build")


def project_build_requirements() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]


def test_scripts_are_sound_and_executable() -> None:
    for name in (".ci/run", "scripts/minimal_install.sh"):
        path = ROOT / name
        assert path.stat().st_mode & 0o111, name
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_project_names_no_machine_path() -> None:
    """Nothing committed points into one machine's folders."""
    forbidden = re.compile(r"(?<![\w.])/(?:work|root|home)/\w")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    guilty: list[str] = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix in {".png", ".parquet", ".woff2"} or not path.is_file():
            continue
        if forbidden.search(path.read_text(encoding="utf-8", errors="replace")):
            guilty.append(name)
    assert guilty == []
