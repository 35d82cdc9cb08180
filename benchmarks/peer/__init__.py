"""llama.cpp as the peer: built from the tree that our ggml comes from, run as subprocesses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Peer:
    """llama_bench and llama_logits: paths of the two programs."""

    llama_bench: Path
    llama_logits: Path

    def logits(
        self,
        gguf: Path,
        chunks: list[list[int]],
        *,
        out: Path,
        cache_type: str = "f16",
        context: int = 512,
        threads: int = 1,
    ) -> np.ndarray:
        """Logits of each chunk's last token, float32 [chunks, vocabulary]; the chunks form one sequence."""
        texts = [",".join(map(str, chunk)) for chunk in chunks]
        command = [str(self.llama_logits), str(gguf), cache_type, str(context), str(threads), str(out), *texts]
        subprocess.run(command, check=True)
        return np.fromfile(out, np.float32).reshape(len(chunks), -1)

    def bench(self, gguf: Path, *, threads: int, prompt: int = 0, decode: int = 0, depth: int = 0) -> float:
        """Tokens per second of one repetition (after llama-bench's own warm-up)."""
        command = [str(self.llama_bench), "-m", str(gguf), "-t", str(threads), "-p", str(prompt), "-n", str(decode)]
        command += ["-d", str(depth), "-r", "1", "-o", "json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        (row,) = json.loads(done.stdout)
        if row["n_prompt"] != prompt or row["n_gen"] != decode or not row["avg_ts"] > 0:
            raise RuntimeError(f"llama-bench measured something else: {row}")
        return float(row["avg_ts"])


def build(folder: Path | None = None) -> Peer:
    """Fetches, configures and builds the peer (minutes the first time); LLAMA_PEER_DIR names a build made before."""
    ready = os.environ.get("LLAMA_PEER_DIR")
    folder = Path(ready) if ready else folder or ROOT / "build" / "peer"
    peer = Peer(folder / "bin" / "llama-bench", folder / "bin" / "llama_logits")
    if not (peer.llama_bench.is_file() and peer.llama_logits.is_file()):
        subprocess.run([sys.executable, ROOT / "third-party" / "fetch.py", "llama.cpp-peer"], check=True)
        source = ROOT / "build" / "third-party" / "llama.cpp-peer"
        configure = ["cmake", "-S", Path(__file__).parent, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
        configure += [f"-DLLAMA_SOURCE_DIR={source}", f"-DCMAKE_RUNTIME_OUTPUT_DIRECTORY={folder / 'bin'}"]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", folder, "--target", "peer"], check=True)
    return peer
