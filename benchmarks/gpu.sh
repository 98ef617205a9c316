#!/usr/bin/env bash
# Measures everything on a machine with a CUDA GPU and PyTorch, without a network; see
# docs/benchmarks.md, "On a GPU".
#
#   benchmarks/gpu.sh a|b|c|all [--out DIR] [--wheels DIR] [--nanogpt DIR] [--corpus FILE] [--dry]
#
# What is missing of the packages is installed from the wheels in --wheels (or $WHEELS) into a
# temporary folder. The rest is benchmarks/gpu/. PYTHON names another Python than python3.
set -u

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit
python=${PYTHON:-python3}
wheels=${WHEELS:-}
previous=
for word in "$@"; do
  case $word in --wheels=*) wheels=${word#--wheels=} ;; esac
  if [ "$previous" = --wheels ]; then wheels=$word; fi
  previous=$word
done

site=$(mktemp -d) || exit
trap 'rm -rf "$site"' EXIT
export PYTHONPATH="$site:$root${PYTHONPATH:+:$PYTHONPATH}"

needed='import torch, numpy, safetensors, msgspec, textual, plotext, platformdirs, tomli_w'
needed="$needed, pytest_asyncio, hypothesis"
if ! missing=$("$python" -c "$needed" 2>&1); then
  if [ -z "$wheels" ]; then
    echo "gpu.sh: ${missing##*$'\n'}: name a folder with the wheels that are missing, --wheels DIR" >&2
    exit 2
  fi
  "$python" -m pip install -q --no-index --no-deps --no-compile --disable-pip-version-check \
    --target "$site" "$wheels"/*.whl || exit 2
fi

# in the background, so that this shell hears a signal at once; the benchmark then ends its stage
# and prints the table of what it has
"$python" -m benchmarks.gpu "$@" &
child=$!
trap 'interrupted=1; kill "$child" 2>/dev/null' INT TERM
interrupted=1
while [ -n "$interrupted" ]; do  # a signal ends the waiting, not the benchmark
  interrupted=
  wait "$child"
  code=$?
done
exit "$code"
