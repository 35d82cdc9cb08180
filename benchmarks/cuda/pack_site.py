#!/usr/bin/env python3
"""Packs what running needs of some wheels: executorch's libraries (a fifth of its wheel), other packages whole.

python benchmarks/cuda/pack_site.py site.tar.xz executorch-*.whl gguf-*.whl
"""

from __future__ import annotations

import io
import re
import sys
import tarfile
import zipfile
from pathlib import Path

NEEDED_OF_EXECUTORCH = re.compile(r"executorch/lib/libexecutorch[^/]*\.so$|executorch-[^/]*\.dist-info/METADATA$")


def main() -> None:
    out, *wheels = map(Path, sys.argv[1:])
    with tarfile.open(out, "w:xz") as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as source:
                for entry in source.infolist():
                    whole = not wheel.name.startswith("executorch-")
                    if entry.is_dir() or not (whole or NEEDED_OF_EXECUTORCH.match(entry.filename)):
                        continue
                    data = source.read(entry)
                    info = tarfile.TarInfo(entry.filename)
                    info.size, info.mode = len(data), 0o755 if entry.filename.endswith(".so") else 0o644
                    archive.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    main()
