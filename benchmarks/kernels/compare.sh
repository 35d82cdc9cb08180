#!/usr/bin/env bash
# compare.sh FIRST SECOND: times the CPU kernels of two build directories (build/dev of two checkouts) beside each other.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The flags that a build compiles its kernels with: definitions, include paths and forced includes.
flags() {
  python3 - "$1" <<'PYTHON'
import json, shlex, sys
entries = json.load(open(f"{sys.argv[1]}/compile_commands.json"))
words = iter(shlex.split(next(e["command"] for e in entries if e["file"].endswith("kernels/panel.cpp"))))
for word in words:
    if word in ("-isystem", "-include"):
        print(word, shlex.quote(next(words)))
    elif word.startswith(("-D", "-I", "-std=")):
        print(shlex.quote(word))
PYTHON
}

number=0
for build in "$1" "$2"; do
  cmake --build "$build" --target executorch_ggml_static >/dev/null
  eval "flags=($(flags "$build"))"
  c++ -O2 -fPIC -shared "${flags[@]}" "$here/table.cpp" "$build/libexecutorch_ggml_static.a" -L"$build/lib" -letggml-base \
    -Wl,--gc-sections -Wl,-rpath,"$(cd "$build" && pwd)/lib" -o "$work/$number.so"
  number=$((number + 1))
done
c++ -O2 "${flags[@]}" "$here/compare.cpp" -ldl -o "$work/compare"
for lanes in 4 8 16; do
  echo "registers of $lanes floats"
  "$work/compare" "$work/0.so" "$work/1.so" "$lanes" || true
done
