#!/usr/bin/env bash
# The core alone, in an environment of its own: it imports, and the program says what it can do.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

"$python" -m venv "$room/venv"
"$room/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
"$room/venv/bin/uv" pip sync --quiet --python "$room/venv/bin/python" requirements/core.txt
"$room/venv/bin/uv" pip install --quiet --python "$room/venv/bin/python" --no-deps .

cd "$room"
"$room/venv/bin/python" -c 'import vitrina; print("vitrina", vitrina.__version__)'
"$room/venv/bin/vitrina" --help >/dev/null
"$room/venv/bin/vitrina" init shop --yes --json
"$room/venv/bin/vitrina" -w shop summary --json
echo "minimal install: ok"
