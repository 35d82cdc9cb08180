#!/bin/bash
# Both wheels in a clean environment, as a user has them, on a machine that may have neither a network nor a GPU:
#
#   benchmarks/cuda/wheels.sh FOLDER             FOLDER: what pack_wheels.sh gathered
#
# What it prints is a transcript. With a GPU (EXPECT=gpu, found out by itself) the model must decode there as on the CPU;
# without one (EXPECT=none) it must still run on the CPU, and asking for CUDA must say why not. Exits 1 otherwise.
#
# NVIDIA's wheels (cuBLAS: half a gigabyte) are not carried. Where the system's Python has them they are lent to the
# environment by a link, which is what `pip install` of the same wheels would put there.
set -uo pipefail
payload=$(realpath "${1:?which folder?}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
venv=$work/venv
bin=$venv/bin
expect=${EXPECT:-none}
[ -n "${EXPECT:-}" ] || { nvidia-smi -L >/dev/null 2>&1 && expect=gpu; }
failures=0

# A command as a user types it, in an environment that has nothing of ours, with its exit code.
run() {
  printf '$ %s\n' "$*"
  env -i PATH="$bin:/usr/bin:/bin" HOME="$work" LANG=C.UTF-8 COLUMNS=110 "$@" 2>&1
  code=$?
  [ "$code" = 0 ] || echo "(exit code $code)"
  return "$code"
}
fail() {
  echo "FAILED $*"
  failures=1
}

"$python" -m venv --without-pip "$venv" || exit 1
echo '$ pip install executorch-ggml executorch-ggml-cuda'
(cd "$payload/wheels" && printf '  %s\n' *.whl)
"$python" -m pip --python "$bin/python" install --quiet --no-index --no-deps --disable-pip-version-check \
  "$payload"/wheels/*.whl || exit 1
site=$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
lent=$("$python" -c 'import importlib.util as u; s = u.find_spec("nvidia"); print(next(iter(s.submodule_search_locations), "") if s else "")')
if [ -n "$lent" ]; then
  ln -s "$lent" "$site/nvidia"
  echo "(nvidia-cublas and nvidia-cuda-runtime: lent by the system's Python, $lent)"
fi
du -shL "$site/executorch_ggml" "$site/executorch_ggml_cuda" | sed "s#$site/##"

cd "$work" || exit 1
run executorch-ggml devices || fail "listing devices"
model=("$payload/model.pte" -g "$payload/model.gguf" --max-tokens 48 --no-stats "In the beginning")
run executorch-ggml run --temperature 0 --device cpu "${model[@]}" | tee cpu.txt || fail "decoding on the CPU"
run executorch-ggml run --temperature 0 --device cuda "${model[@]}" | tee cuda.txt
code=${PIPESTATUS[0]}
if [ "$expect" = gpu ]; then
  [ "$code" = 0 ] || fail "decoding on the GPU"
  # Not word for word: a GPU rounds otherwise, and the model is small. The beginning must be the same.
  [ "$(sed 1d cpu.txt | tr -d '\n' | cut -c -24)" = "$(sed 1d cuda.txt | tr -d '\n' | cut -c -24)" ] ||
    fail "the GPU writes another text than the CPU"
  cat > rate.py <<'PY'
import sys
from executorch_ggml.runtime.program import Program
from executorch_ggml.llm.text import generate
with Program(sys.argv[1], sys.argv[2], device="cuda") as program:
    for _ in range(2):
        running = generate(program, [1], max_tokens=100, ignore_end=True)
        running.read()
    print(f"{len(running.tokens)} tokens, {running.stats.tokens_per_second:,.0f} tok/s, graph {program.stats()['graph']}")
PY
  run python rate.py "$payload/model.pte" "$payload/model.gguf" || fail "generate()"
else
  [ "$code" != 0 ] || fail "CUDA ran where there is no GPU"
  grep -qi "driver\|gpu" cuda.txt || fail "the error does not say why"
fi
exit "$failures"
