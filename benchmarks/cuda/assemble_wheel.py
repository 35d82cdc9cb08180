#!/usr/bin/env python3
"""A developer's CUDA wheel of libraries that were built already, here or on the GPU machine.

    python3 benchmarks/cuda/assemble_wheel.py OUT libggml-cuda.so libetggml-cuda.so ggml-cuda.json

The same as `pip wheel . -C variant=cuda` would write, without the hour that building ggml-cuda takes. Not for release.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import build_backend


def main() -> None:
    out, *libraries = map(Path, sys.argv[1:])

    def install(settings: dict[str, Any], prefix: Path, strip: bool) -> None:
        (prefix / "lib").mkdir(parents=True)
        for path in libraries:
            copied = Path(shutil.copy(path, prefix / "lib"))
            if copied.suffix == ".so":
                subprocess.run(["strip", "--strip-unneeded", copied], check=True)

    build_backend._compile = install
    out.mkdir(parents=True, exist_ok=True)
    print(out / build_backend.build_wheel(str(out), {"variant": "cuda"}))


if __name__ == "__main__":
    main()
