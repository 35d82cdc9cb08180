#!/bin/bash
# libkernel_trace.so, with CUPTI from the toolkit or from NVIDIA's wheel, wherever its header and library are:
#
#   benchmarks/cuda/account/build.sh FOLDER
set -euo pipefail
out=$(realpath -m "${1:?which folder?}")
here=$(cd "$(dirname "$0")" && pwd)
places=(/usr/local/cuda /usr/local/cuda/extras/CUPTI /usr/local/cuda-*/ /usr/local/cuda-*/targets/x86_64-linux)
while read -r place; do places+=("$place"); done < <(python3 - <<'PY'
import importlib.util, pathlib
spec = importlib.util.find_spec("nvidia")
for base in list(spec.submodule_search_locations or []) if spec else []:
    for place in sorted(pathlib.Path(base).iterdir()):
        print(place)
PY
)
flags=()
for place in "${places[@]}"; do
  if [ -d "$place/include" ]; then flags+=(-I"$place/include"); fi
  for lib in "$place/lib64" "$place/lib"; do
    for file in "$lib"/libcupti.so.*; do
      if [ -e "$file" ]; then library=${library:-$file}; fi
    done
  done
done
: "${library:?CUPTI was not found}"
mkdir -p "$out"
${CXX:-g++} -std=c++17 -O2 -Wall -Wextra -fPIC -shared -fvisibility=hidden "${flags[@]}" -o "$out/libkernel_trace.so" \
  "$here/trace.cpp" "$library" -Wl,-rpath,"$(dirname "$library")"
echo "$out/libkernel_trace.so, $library"
