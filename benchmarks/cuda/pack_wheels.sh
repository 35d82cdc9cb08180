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
download=("$python" -m pip download --quiet --only-binary=:all: --python-version "${GPU_PYTHON:-3.12}")
download+=(--implementation cp "${platforms[@]}" --dest "$out/wheels")
# Without what they ask for and we do not use: torch, and a client of Hugging Face's hub.
"${download[@]}" --no-deps "executorch==$version" tokenizers
"${download[@]}" flatbuffers jinja2 numpy rich typer
# A fifth of executorch's wheel is what we link; the rest of it would not fit into what can be carried.
$python - "$out"/wheels/executorch-*.whl <<'PY'
import re, sys, zipfile
path, needed = sys.argv[1], re.compile(r"executorch/lib/libexecutorch[^/]*\.so|executorch-[^/]*\.dist-info/.*")
with zipfile.ZipFile(path) as source:
    kept = {info: source.read(info) for info in source.infolist() if needed.fullmatch(info.filename)}
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
    for info, data in kept.items():
        if info.filename.endswith("/RECORD"):
            data = b"".join(l for l in data.splitlines(True) if needed.fullmatch(l.decode().split(",")[0]))
        target.writestr(info, data)
PY
cp "$base" "$cuda" "$out/wheels"
cp assets/scripture-2.9m-q8_0.gguf "$out/model.gguf"
.venv/bin/executorch-ggml export "$out/model.gguf" "$out/model.pte"
du -sh "$out"
