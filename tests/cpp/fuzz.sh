#!/usr/bin/env bash
# Runs every libFuzzer target of the preset "fuzz" for some time:
#
#   tests/cpp/fuzz.sh BUILD CORPUS CRASHES SECONDS
#
#   BUILD    the build directory, build/fuzz
#   CORPUS   folder of inputs that reached new code; grows from run to run
#   CRASHES  folder for inputs that crashed, hung, or took too much memory
#
# Exits 1 when a target found something; the others run all the same.
set -uo pipefail
build=${1:?which build directory?}
corpus=${2:?which corpus?}
crashes=${3:?where to put crashes?}
seconds=${4:?for how long?}
# In the build tree ExecuTorch does not lie where the library looks for it.
export LD_LIBRARY_PATH=build/third-party/executorch/lib:${LD_LIBRARY_PATH:-}
status=0
found=0
mkdir -p "$crashes"
for target in "$build"/tests/fuzz_*; do
  [[ -f $target && -x $target ]] || continue
  found=1
  name=$(basename "$target")
  mkdir -p "$corpus/$name"
  echo "== $name"
  "$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="$crashes/$name-" "$corpus/$name" || status=1
done
((found)) || {
  echo "$build/tests has no fuzz targets: cmake --preset fuzz && cmake --build --preset fuzz" >&2
  exit 1
}
exit "$status"
