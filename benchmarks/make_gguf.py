#!/usr/bin/env python3
"""Writes a GGUF of a real architecture and size with random weights: tests/support/make_gguf.py as a command.

python benchmarks/make_gguf.py qwen3.gguf --preset qwen3-0.6b --type q8_0 --vocab ggml-vocab-qwen2.gguf
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.make_gguf import main

if __name__ == "__main__":
    main()
