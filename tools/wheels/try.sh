#!/usr/bin/env bash
# Installs a wheel into an environment of its own and uses it there, away from the source tree:
#
#   tools/wheels/try.sh PYTHON WHEEL
set -euo pipefail
python=${1:?which Python?}
wheel=$(cd "$(dirname "${2:?which wheel?}")" && pwd)/$(basename "$2")
model=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/assets/scripture-2.9m-q8_0.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$python" -m venv venv
venv/bin/python -m pip install --quiet torch==2.13.0 "$wheel"
ggml=venv/bin/executorch-ggml
"$ggml" --version
"$ggml" devices
"$ggml" export "$model" model.pte
"$ggml" check model.pte --gguf "$model"
text=$("$ggml" run model.pte --gguf "$model" --max-tokens 16 "In the morning the king said to")
echo "$text"
[[ -n $text ]]
