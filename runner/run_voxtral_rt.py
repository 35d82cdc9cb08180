"""Transcribes an audio file with a Voxtral Realtime `.pte`.

python runner/run_voxtral_rt.py --model voxtral.pte --audio speech.wav --streaming
"""

from __future__ import annotations

import argparse
import time

from executorch_ggml.speech.audio import AudioFile
from executorch_ggml.speech.voxtral.transcribe import VoxtralTranscriber


def main() -> None:
    parser = argparse.ArgumentParser(description="Transcribe with Voxtral Realtime")
    parser.add_argument("--model", default="voxtral.pte", help="the .pte")
    parser.add_argument("--weights", help="the GGUF, when it is not beside the .pte under the same name")
    parser.add_argument("--audio", required=True, help="WAV, FLAC, ...")
    parser.add_argument("--streaming", action="store_true", help="in steps of one token (0.08 s): answers soonest")
    parser.add_argument("--device", help="cpu, cuda, ...")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cache-type", help="storage of keys and values: f16, f32, q8_0, ...")
    options = parser.parse_args()
    with VoxtralTranscriber(
        options.model,
        options.weights,
        step_seconds=0.0 if options.streaming else None,
        device=options.device,
        threads=options.threads,
        cache_type=options.cache_type,
    ) as voxtral:
        start = time.perf_counter()
        for token in voxtral.stream(AudioFile(options.audio, voxtral.sample_rate)):
            print(token.piece.decode("utf-8", "replace"), end="", flush=True)
        seconds = time.perf_counter() - start
        factor = seconds / voxtral.audio_seconds
        print(f"\n[{voxtral.audio_seconds:.1f} s of audio, real-time factor {factor:.3f}]")


if __name__ == "__main__":
    main()
