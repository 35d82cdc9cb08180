#!/bin/bash
# Gathers what wheels.sh needs in one folder to carry: our two wheels, those that they depend on but NVIDIA's and torch
# (executorch's wheel asks for it and its libraries do not), and the bundled model.
#
#   benchmarks/cuda/pack_wheels.sh FOLDER BASE.whl CUDA.whl      GPU_PYTHON=3.12: of the machine they are carried to
set -euo pipefail
out=$(realpath -m "${1:?which folder?}")
base=$(realpath "${2:?which wheel?}")
cuda=$(realpath "${3:?which wheel of CUDA?}")
cd "$(dirname "$0")/../.."
python=.venv/bin/python
mkdir -p "$out/wheels"
rm -f "$out"/wheels/*.whl
platforms=()
for n in 2_28 2_27 2_17 2014; do platforms+=(--platform "manylinux${n/2_/_2_}_x86_64"); done
version=$($python -c 'import importlib.metadata as m; print(m.version("executorch"))')
$python -m pip download --quiet --no-deps --only-binary=:all: --python-version "${GPU_PYTHON:-3.12}" \
  --implementation cp "${platforms[@]}" --dest "$out/wheels" "executorch==$version" \
  numpy flatbuffers tokenizers jinja2 markupsafe rich pygments markdown-it-py mdurl \
  typer click shellingham typing-extensions annotated-doc
cp "$base" "$cuda" "$out/wheels"
cp assets/scripture-2.9m-q8_0.gguf "$out/model.gguf"
.venv/bin/executorch-ggml export "$out/model.gguf" "$out/model.pte"
du -sh "$out"
