#!/usr/bin/env python3
"""Seconds from the start of `executorch-ggml run FILE.gguf` to its first token, without a kept graph and with one.

python benchmarks/first_token.py MODEL.gguf [--prompt TEXT] [--repeat N] [--threads N]

The first time exports the graph, into an empty cache folder of its own. The second takes it from there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def first_byte(command: list[str], cache: Path, prompt: str) -> float:
    """Seconds until stdout has a byte after the echoed prompt."""
    environment = {**os.environ, "EXECUTORCH_GGML_GRAPHS": str(cache)}
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # `run` prints the prompt together with the first token, not before.
        seen = b""
        while len(seen) <= len(prompt.encode()) and (byte := os.read(process.stdout.fileno(), 4096)):
            seen += byte
        seconds = time.monotonic() - begin
        _, error = process.communicate()
        if process.returncode != 0 or len(seen) <= len(prompt.encode()):
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{error.decode()}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--prompt", default="In the beginning")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    command = [sys.executable, "-m", "executorch_ggml", "run", str(options.gguf), options.prompt]
    command += ["-n", "8", "--quiet", "--threads", str(options.threads)]
    first, second = [], []
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory() as cache:
            first.append(first_byte(command, Path(cache), options.prompt))
            second.append(first_byte(command, Path(cache), options.prompt))
    print(f"| {options.gguf.name}, {options.threads} thread(s) | median | lowest | highest |")
    print("|---|---|---|---|")
    for name, times in (("first time: the graph is exported", first), ("second time: the graph is kept", second)):
        print(f"| {name} | {sorted(times)[len(times) // 2]:.2f} s | {min(times):.2f} s | {max(times):.2f} s |")


if __name__ == "__main__":
    main()
