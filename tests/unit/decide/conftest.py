"""A shop on a real store, made anew for each test."""

from __future__ import annotations

import pytest

from tests.unit.decide.shop import Shop


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    yield made
    made.store.close()
