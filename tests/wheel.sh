#!/usr/bin/env bash
# The wheel, in an empty environment elsewhere: init, models pull, ingest, ask, verify.
# Usage: tests/wheel.sh [PYTHON]   PYTHON has hatchling; default .venv/bin/python
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
python=$(realpath --no-symlinks "$python")

echo "== build"
"$python" -m hatchling build -t wheel -d "$work/dist" >/dev/null
wheel=$(echo "$work"/dist/*.whl)
others=$("$python" -m zipfile -l "$wheel" | awk 'NR > 1 { print $1 }' | cut -d/ -f1 | sort -u |
  grep -v -x -e assistant -e 'hybrid_assistant-.*\.dist-info' || true)
"$python" -m zipfile -l "$wheel" | grep assistant/engine/native/attention.c >/dev/null
[ -z "$others" ] || { echo "the wheel holds more than assistant/: $others" >&2; exit 1; }

echo "== install into an empty environment"
"$python" -m venv "$work/env"
pip() { "$work/env/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install -c constraints.txt pip
pip install "torch==$(sed -n 's/^torch==//p' constraints.txt)"
pip install -c constraints.txt "$wheel[cpu]"

cd "$work"
assistant=$work/env/bin/assistant
echo "== init, models pull, ingest, ask"
"$assistant" init demo
cd demo
"$assistant" models pull
"$assistant" ingest docs/
"$assistant" ask "How many days a year may I work from another country?" --as ana --json >answer.json
"$work/env/bin/python" - <<'PYTHON'
import json

answer = json.load(open("answer.json"))
print(answer["text"])
assert answer["status"] == "answered", answer["status"]
assert answer["citations"][0]["uri"] == "hr/remote-work-policy.md", answer["citations"]
PYTHON
"$assistant" audit verify
"$assistant" doctor
echo "== the wheel works"
