#!/bin/bash
# Everything that is checked and measured on a GPU machine, from what pack.sh gathered:
#
#   benchmarks/cuda/session.sh FOLDER STEP...
#
#   install      executorch's libraries and gguf, beside the system's Python
#   build        ggml-cuda and llama.cpp's llama-bench on the same ggml (minutes on 16 cores), our library beside them
#   package      our library and what lies beside it in FOLDER alone: `build` without a compiler
#   models       the GGUF files (in the background of a build: `build models`); MAKE: make_models.py's other options
#   cases        operators, chains, conformance, zoo, MobileNetV2, MiniLM against eager torch
#   correctness  logits and greedy tokens of Qwen3-0.6B
#   decode       speed beside llama.cpp: DECODE="--models ... --types ... --tests ..." chooses
#   sessions     generate() beside C++, GPU memory, eight sessions
#   speech       Parakeet 0.6B and Voxtral 4B: methods of tiny ones against eager torch, speed of the real ones beside it
#   draws        draws on the GPU against their plain form, and their time
#   account      one decode step, kernel by kernel, beside llama.cpp's: ACCOUNT="--types q8_0 f16" chooses
#
# Environment: WORK (/tmp/etggml), OUT (WORK/out), DEVICE (cuda), CUDA_ARCH (90-real), MODELS, CASES, SPEECH (options),
# SPEECH_TYPES.
# Every step's text is kept as STEP.md in OUT/results.tar.gz; the exit code is that of the first step that failed, and
# the steps behind it run all the same, but for those that need it.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
payload=$(realpath "${1:?which folder?}")
shift
work=${WORK:-/tmp/etggml}
results=$work/results
out=${OUT:-$work/out}
device=${DEVICE:-cuda}
models=${MODELS:-qwen3-0.6b llama-3.2-1b qwen3-4b}
mkdir -p "$work"/{package,models} "$results" "$out"
export PYTHONPATH=$work/site PYTHONUNBUFFERED=1
export EXECUTORCH_GGML_LIBRARY=$work/package/lib/libexecutorch_ggml.so
export LD_LIBRARY_PATH=$work/package/lib:$work/site/executorch/lib:${LD_LIBRARY_PATH:-}
here=$root/benchmarks/cuda
bench=$work/package/bin/benchmark_llm
peer=$work/peer/bin/llama-bench
status=0

# The loader finds cuBLAS and the runtime where torch's wheels put them, should the system not have them.
for folder in $(python3 - <<'PY'
import importlib.util, pathlib
spec = importlib.util.find_spec("nvidia")
for place in list(spec.submodule_search_locations or []) if spec else []:
    for lib in sorted(pathlib.Path(place).glob("**/lib")):
        if any(lib.glob("libcublas.so*")) or any(lib.glob("libcudart.so*")):
            print(lib)
PY
); do LD_LIBRARY_PATH+=:$folder; done

step_install() {
  mkdir -p "$work/site" && tar --extract --xz --file "$payload/site.tar.xz" --directory "$work/site"
}

# Copies files (and what is in folders) so that each appears whole, under a new inode: a process that has the old one
# mapped keeps it, where writing into it would end that process.
place() {
  local to=${!#} from file
  for from in "${@:1:$#-1}"; do
    if [ -d "$from" ]; then
      mkdir -p "$to/$(basename "$from")"
      place "$from"/* "$to/$(basename "$from")" || return 1
    else
      file=$to/$(basename "$from")
      cp "$from" "$file.new" && mv -f "$file.new" "$file" || return 1
    fi
  done
}

step_package() {
  place "$payload"/package/* "$work/package"
}

step_build() {
  step_package && place "$payload"/models/*.pte "$work/models" || return 1
  mkdir -p "$work"/{trees,peer/bin}
  if compgen -G "$payload/peer/bin.tar.xz.*" >/dev/null; then
    cat "$payload"/peer/bin.tar.xz.* | tar --extract --xz --directory "$work/peer/bin" || return 1
    # A ggml-cuda of its own in the package is newer than that.
    [ ! -e "$payload/package/lib/libggml-cuda.so" ] || place "$payload/package/lib/libggml-cuda.so" "$work/peer/bin" || return 1
  elif [ ! -e "$payload/package/lib/libggml-cuda.so" ]; then
    tar --extract --xz --file "$payload/trees.tar.xz" --directory "$work/trees" && build_peer || return 1
  fi
  # One ggml for both sides: the very libraries that llama-bench runs on.
  ! compgen -G "$work/peer/bin/lib*ggml*.so" >/dev/null || place "$work"/peer/bin/lib*ggml*.so "$work/package/lib" || return 1
  build_kernels
}

# Minutes. What comes of it goes back with the results, to be carried as FOLDER/peer by the next session.
build_peer() {
  cmake -S "$here/peer" -B "$work/peer" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CUDA_ARCHITECTURES="${CUDA_ARCH:-90-real}" \
    -DGGML_TREE="$work/trees/llama.cpp" -DLLAMA_TREE="$work/trees/llama.cpp-peer" >"$work/configure.log" 2>&1 ||
    { tail -30 "$work/configure.log"; return 1; }
  cmake --build "$work/peer" --target peer --parallel "$(nproc)" >"$work/build.log" 2>&1 ||
    { grep -E 'error|FAILED' "$work/build.log" | tail -30; return 1; }
  tar --create --directory "$work/peer/bin" . | xz -T0 -4 | split -b 15M -d - "$out/bin.tar.xz."
}

# csrc/cuda: a module of its own, a few files, compiled at once unless the package has it.
build_kernels() {
  compgen -G "$root/csrc/cuda/*.cu" >/dev/null && [ ! -e "$payload/package/lib/libetggml-cuda.so" ] || return 0
  local arch=${CUDA_ARCH:-90-real} objects=$work/kernels
  arch=${arch%-real}
  mkdir -p "$objects"
  for source in "$root"/csrc/cuda/*.cu; do
    echo "$source"
  done | xargs -P "$(nproc)" -I{} sh -c 'nvcc -c -O3 -std=c++17 -Xcompiler -fPIC,-fvisibility=hidden \
    -gencode arch=compute_'"$arch"',code=sm_'"$arch"' -I"'"$root"'/csrc" -I"'"$root"'/csrc/ggml_ext" \
    -I"'"$work"'/trees/llama.cpp/ggml/include" -o "'"$objects"'/$(basename {} .cu).o" {}' || return 1
  nvcc -shared -o "$work/package/lib/libetggml-cuda.so" "$objects"/*.o -L"$work/package/lib" -letggml-base
}

step_models() {
  # shellcheck disable=SC2086
  python3 "$here/make_models.py" "$work/models" --models $models --jobs "${JOBS:-8}" ${MAKE:-}
}

step_cases() {
  # shellcheck disable=SC2086
  python3 "$here/run_cases.py" "${CASES:-$payload/cases}" --device "$device" --output "$results/cases.md"
}

step_correctness() {
  # shellcheck disable=SC2086
  python3 "$here/correctness.py" "$work/models" --device "$device" ${CORRECTNESS:-}
}

step_decode() {
  # shellcheck disable=SC2086
  python3 "$here/decode.py" "$work/models" --bench "$bench" --peer "$peer" --device "$device" \
    --raw "$results/decode.json" ${DECODE:---models $models}
}

step_sessions() {
  # shellcheck disable=SC2086
  python3 "$here/sessions.py" "$work/models" --bench "$bench" --device "$device" ${SESSIONS:-}
}

# 16 GB of weights are written while the cases run, which are not timed.
step_speech() {
  local folder=$payload/speech room weights=$work/weights code=0
  room=$(df --output=avail -B1G /dev/shm 2>/dev/null | tail -1)
  [ "${room:-0}" -lt 24 ] || weights=/dev/shm/etggml-weights
  # shellcheck disable=SC2086
  speech() { python3 "$root/benchmarks/speech.py" "$1" --dtypes ${SPEECH_TYPES:-BF16 Q8_0} --folder "$folder" --weights "$weights" "${@:2}"; }
  (speech parakeet --export-only && speech voxtral --export-only) >"$work/weights.log" 2>&1 &
  local writer=$!
  python3 "$here/run_cases.py" "$folder" --device "$device" --each || code=1
  wait "$writer" || { cat "$work/weights.log"; return 1; }
  cat "$work/weights.log"
  for model in parakeet voxtral; do
    # shellcheck disable=SC2086
    speech "$model" --device "$device" --repeat 20 --loop 20 --eager-dtype bfloat16 --no-keep ${SPEECH:-} || code=1
  done
  return "$code"
}

step_draws() {
  local arch=${CUDA_ARCH:-90-real} objects=("$work"/kernels/*.o)
  [ -e "${objects[0]}" ] || objects=("$root"/csrc/cuda/*.cu)
  nvcc -std=c++17 -O3 -arch="sm_${arch%-real}" -I"$root/csrc" -I"$root/csrc/ggml_ext" \
    -I"$work/trees/llama.cpp/ggml/include" -o "$work/draws" "$here/kernels/draws.cu" \
    "$root/csrc/fusion/host_sample.cpp" "${objects[@]}" -L"$work/package/lib" -letggml-base || return 1
  "$work/draws"
}

step_account() {
  "$here/account/build.sh" "$work/trace" || return 1
  # shellcheck disable=SC2086
  python3 "$here/account/account.py" "$work/models" --bench "$bench" --peer "$peer" --device "$device" \
    --trace "$work/trace/libkernel_trace.so" ${ACCOUNT:-}
}

run() {
  local began=$SECONDS code=0
  echo "## $1"
  "step_$1" 2>&1 | tee "$results/$1.md"
  code=${PIPESTATUS[0]}
  echo "($1: $((SECONDS - began)) s, exit code $code)"
  tar --create --gzip --directory "$results" --file "$out/results.tar.gz" .
  [ "$code" = 0 ] || [ "$status" != 0 ] || status=$code
  return "$code"
}

{
  echo "commit: $(git -C "$root" rev-parse --short HEAD 2>/dev/null || cat "$payload/commit" 2>/dev/null)"
  date -u '+date: %F %H:%M UTC'
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
  nproc | sed 's/$/ CPU cores/'
} | tee "$results/machine.md"

# The files are written while the compiler runs; both use all cores, neither waits for the other.
if [[ " $* " == *" build "* && " $* " == *" models "* ]]; then
  [[ " $* " != *" install "* ]] || run install || exit "$status"
  step_package || exit 1   # K quantisations are our library's
  run models >"$work/models.log" 2>&1 &
  writer=$!
  run build || { kill "$writer"; cat "$work/models.log"; exit "$status"; }
  wait "$writer" || status=$?
  cat "$work/models.log"
  set -- $(printf '%s\n' "$@" | grep -vxE 'install|build|models')
fi
for step in "$@"; do
  declare -F "step_$step" >/dev/null || { echo "unknown step: $step"; exit 2; }
  run "$step" || [[ $step != install && $step != build ]] || exit "$status"
done
exit "$status"
