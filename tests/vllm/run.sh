#!/usr/bin/env bash
# The engine's contract suite against a real vLLM server on this CPU.
# Usage: tests/vllm/run.sh PYTHON ENVIRONMENT [PYTEST ARGUMENTS]
#   PYTHON has the project and its tests; ENVIRONMENT is the folder of vLLM's own one, made when missing
#   (about 2 GB, a minute or two). Exits 0 with a line "skipped: ..." where vLLM's CPU build cannot run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(realpath --no-symlinks "$1") environment=$2
shift 2

skip() { echo "make test-vllm: SKIPPED, NOTHING WAS TESTED: $1" >&2; exit 0; }
[ "$(uname -sm)" = "Linux x86_64" ] || skip "vLLM's CPU build is used on Linux x86_64, and this is $(uname -sm)"
grep -q -w avx2 /proc/cpuinfo || skip "this CPU has no AVX2, which vLLM's CPU build needs"

ready=$environment/.ready-$(sha256sum "$here/requirements.txt" | cut -c1-16)
if [ ! -e "$ready" ]; then
  echo "making $environment with vLLM's CPU build (about 2 GB, a few minutes the first time)"
  rm -rf "$environment"
  "$python" -m venv "$environment"
  "$environment/bin/python" -m pip --quiet --disable-pip-version-check install --no-deps \
    -r "$here/requirements.txt"
  "$environment/bin/python" -c 'import torch, sys; sys.exit(torch.version.cuda is not None)' || {
    echo "make test-vllm: the torch in $environment is no CPU build: give pip an index that has one" \
      "(PIP_EXTRA_INDEX_URL, or PIP_FIND_LINKS) and run this again" >&2
    exit 1
  }
  touch "$ready"
fi
cd "$here/../.."
VLLM_PYTHON=$environment/bin/python exec "$python" -m pytest tests/vllm "$@"
