"""`import vitrina` and `vitrina --help` stay light: no giant in the module table, little CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

GIANTS = {"sklearn", "lightgbm", "jax", "statsforecast", "pandas", "litestar"}
IMPORT = "import vitrina"
HELP = "import sys; from vitrina.cli import run; assert run(['--help']) == 0"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_no_giant_is_loaded(code: str) -> None:
    loaded = python(f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})")
    assert GIANTS & set(loaded.split()) == set()


@pytest.mark.parametrize(("code", "limit"), [(IMPORT, 0.15), (HELP, 0.8)], ids=["import", "help"])
def test_cpu_of_a_start(code: str, limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of three, byte code written before: what a person's second start costs."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    costs: list[float] = []
    for _ in range(4):
        before = os.times()
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120)
        after = os.times()
        costs.append(
            after.children_user + after.children_system - before.children_user - before.children_system,
        )
    assert min(costs) <= limit, costs
