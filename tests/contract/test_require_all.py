"""With REQUIRE_ALL=1 a skipped test, or a skipped file of tests, is a failure; without it, it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SKIPS = {
    "a test": "import pytest\ndef test_it():\n    pytest.skip('no data')\n",
    "a mark": "import pytest\n@pytest.mark.skip(reason='later')\ndef test_it():\n    pass\n",
    "a file": "import pytest\npytest.importorskip('no_such_package')\ndef test_it():\n    pass\n",
    "a fixture": "def test_it(shared_data):\n    pass\n",
}
EXPECTED = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    assert False\n"


def outcome(folder: Path, text: str, require: str) -> int:
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environ = {
        **os.environ,
        "REQUIRE_ALL": require,
        "PYTHONPATH": str(ROOT),
        "VITRINA_SHARED_DATA": str(folder / "no"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False, timeout=120).returncode


@pytest.mark.parametrize("text", SKIPS.values(), ids=SKIPS.keys())
def test_a_skip_is_a_failure(text: str, tmp_path: Path) -> None:
    assert outcome(tmp_path, text, "1") not in (0, 5)
    assert outcome(tmp_path, text, "0") in (0, 5)


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert outcome(tmp_path, EXPECTED, "1") == 0
