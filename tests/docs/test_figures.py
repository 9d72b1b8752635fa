"""Figures in the README are copied from the result of a benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import figures

RESULT = {
    "name": "main-loop",
    "measured_at": "2026-12-01T10:00:00Z",
    "machine": {"cores": 2, "cpu": "some processor", "load": 0.3},
    "versions": {"vitrina": "0.1.0"},
    "rows": [
        {"id": "a", "what": "events a second", "target": 15000, "better": "higher", "unit": "1/s", "value": 16234.5,
         "low": 16000, "high": 16400, "n": 5, "peer": None, "peer_value": None, "ok": True, "note": ""},
        {"id": "b", "what": "CPU an event", "target": 45, "better": "lower", "unit": "µs", "value": 51.25,
         "low": None, "high": None, "n": 1, "peer": None, "peer_value": None, "ok": False, "note": "shared machine"},
    ],
}  # fmt: skip
PAGE = "before\n<!-- figures:main-loop -->\nold\n<!-- /figures -->\nafter\n"


def test_a_block_is_filled_from_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    (tmp_path / "main-loop.json").write_text(json.dumps(RESULT), encoding="utf-8")
    text = figures.filled(PAGE, "README.md")
    assert "| events a second | ≥ 15,000 1/s | 16,234 1/s | 16,000 … 16,400 | 5 | yes |" in text
    assert "| CPU an event | ≤ 45 µs | 51.2 µs | – | 1 | no: shared machine |" in text
    assert text.startswith("before\n")
    assert text.endswith("<!-- /figures -->\nafter\n")
    assert figures.filled(text, "README.md") == text


def test_a_block_without_a_result_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert figures.filled(PAGE, "README.md") == PAGE
