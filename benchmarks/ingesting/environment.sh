#!/usr/bin/env bash
# Make the environment in which the ingest benchmark runs the other frameworks.
# Usage: benchmarks/ingesting/environment.sh PYTHON ENVIRONMENT   (about 2 GB; does nothing when it is there)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(realpath --no-symlinks "$1") environment=$2
ready=$environment/.ready-$(sha256sum "$here/requirements.txt" | cut -c1-16)
[ ! -e "$ready" ] || exit 0
echo "making $environment with LangChain and LlamaIndex (about 2 GB, a few minutes the first time)"
rm -rf "$environment"
"$python" -m venv "$environment"
"$environment/bin/python" -m pip --quiet --disable-pip-version-check install -r "$here/requirements.txt"
touch "$ready"
