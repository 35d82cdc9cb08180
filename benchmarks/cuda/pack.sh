#!/bin/bash
# Gathers what session.sh needs on a GPU machine without a network, into one folder to carry there:
#
#   benchmarks/cuda/pack.sh FOLDER          after `make build`
#
#   site.tar.xz  executorch's libraries and gguf for Python 3.12 (GPU_PYTHON: another)
#   package/  our library and benchmark_llm, built here; ggml-cuda is built there, or taken from here when it lies in
#             executorch_ggml/lib
#   trees.tar.xz  ggml as we patch it, and llama.cpp without its own ggml
#   models/   the .pte files of the models that are measured
#   cases/    make_cases.py's archives (kept when they are there: they take a while)
#   speech/   the graphs of both speech models at their real size, and the archive of tiny ones (kept likewise)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:?which folder?}")
python=.venv/bin/python
gpu_python=${GPU_PYTHON:-3.12}
mkdir -p "$out"/{package/lib,package/bin,models,cases}

git rev-parse --short HEAD > "$out/commit"

platforms=()
for n in 28 27 17; do platforms+=(--platform "manylinux_2_${n}_x86_64"); done
version=$($python -c 'import importlib.metadata as m; print(m.version("executorch"))')
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
$python -m pip download --quiet --no-deps --only-binary=:all: --python-version "$gpu_python" --implementation cp \
  "${platforms[@]}" --dest "$wheels" "executorch==$version" gguf
$python benchmarks/cuda/pack_site.py "$out/site.tar.xz" "$wheels"/*.whl

cp executorch_ggml/lib/*.so "$out/package/lib"
cp executorch_ggml/bin/* "$out/package/bin"
strip --strip-unneeded "$out"/package/lib/*.so "$out"/package/bin/*

$python third-party/fetch.py llama.cpp
$python third-party/fetch.py llama.cpp-peer
tar --create --xz --directory build/third-party --exclude 'llama.cpp-peer/ggml/src' --exclude 'llama.cpp-peer/ggml/include' --exclude '*/tools/*/public*' \
  --exclude '*/tools/*/webui*' --exclude '*.gguf' --exclude '*/ggml-metal/*' --exclude '*/ggml-vulkan/*' \
  --file "$out/trees.tar.xz" llama.cpp llama.cpp-peer

$python benchmarks/cuda/export_models.py "$out/models"
for family in ops chains zoo mobilenet minilm conformance; do
  [ -s "$out/cases/$family.zip" ] || $python benchmarks/cuda/make_cases.py "$out/cases" --families "$family"
done
mkdir -p "$out/speech"
[ -s "$out/speech/speech.zip" ] || $python benchmarks/cuda/make_cases.py "$out/speech" --families speech
for model in parakeet voxtral; do
  [ -s "$out/speech/$model.pte" ] ||
    $python -c "from pathlib import Path; from benchmarks.speech_files import export; export('$model', Path('$out/speech/$model.pte'))"
done
du -sh "$out"/*
du -sh "$out"
