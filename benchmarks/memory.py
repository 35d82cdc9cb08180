#!/usr/bin/env python3
"""Private memory of a loaded model, and what exporting costs; each measured in a process of its own.

    python benchmarks/memory.py model.gguf [--max-seq-len 128]

Private = anonymous pages (Linux smaps_rollup) after loading and running one token, with nothing but our runtime
imported. Peak = the high-water mark of the resident set of a process that exports, torch included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

LOAD = """
import json, re, sys
from executorch_ggml.llm.module import GGUFModule
module = GGUFModule(sys.argv[2], sys.argv[1], threads=1)
module.forward([[1]], [0])
rollup = open("/proc/self/smaps_rollup").read()
field = lambda name: int(re.search(rf"^{name}:\\s+(\\d+) kB", rollup, re.M)[1]) * 1024
weights = module.program.info()["weights"]
torch = "torch" in sys.modules
print(json.dumps({"anonymous": field("Anonymous"), "rss": field("Rss"), "torch": torch, "weights": weights}))
"""

EXPORT = """
import json, resource, sys, time
started = time.monotonic()
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
export_gguf_to_pte(sys.argv[1], sys.argv[2], GGUFExportConfig(max_seq_len=int(sys.argv[3])))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": time.monotonic() - started, "peak": peak}))
"""


def run(script: str, *arguments: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--max-seq-len", type=int, default=128)
    options = parser.parse_args()
    size = options.gguf.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        pte = Path(folder) / "model.pte"
        export = run(EXPORT, str(options.gguf), str(pte), str(options.max_seq_len))
        loaded = run(LOAD, str(options.gguf), str(pte))
        print(f"GGUF {size / 1e6:,.1f} MB, .pte {pte.stat().st_size:,} bytes, context {options.max_seq_len}")
    print(f"export: {export['seconds']:.1f} s with imports, peak {export['peak'] / 1e6:,.0f} MB")
    private = loaded["anonymous"]
    print(f"loaded, one token run: private {private / 1e6:,.1f} MB = {100 * private / size:.1f}% of the GGUF,")
    print(f"resident {loaded['rss'] / 1e6:,.1f} MB; torch imported: {loaded['torch']}; weights {loaded['weights']}")


if __name__ == "__main__":
    main()
