"""Transcribes an audio file with a Parakeet `.pte`.

python runner/run_parakeet.py --model parakeet.pte --audio speech.wav --timestamps
"""

from __future__ import annotations

import argparse

from executorch_ggml.speech.audio import AudioFile
from executorch_ggml.speech.parakeet.transcribe import ParakeetTranscriber


def main() -> None:
    parser = argparse.ArgumentParser(description="Transcribe with Parakeet TDT")
    parser.add_argument("--model", required=True, help="the .pte")
    parser.add_argument("--weights", help="the GGUF, when it is not beside the .pte under the same name")
    parser.add_argument("--audio", required=True, help="WAV, FLAC, ...")
    parser.add_argument("--device", help="cpu, cuda, ...")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--chunk-seconds", type=float, help="cut long audio into chunks of this length")
    parser.add_argument("--timestamps", action="store_true", help="a line for each word, with its times")
    options = parser.parse_args()
    with ParakeetTranscriber(
        options.model,
        options.weights,
        chunk_seconds=options.chunk_seconds,
        device=options.device,
        threads=options.threads,
    ) as parakeet:
        transcript = parakeet.transcribe(AudioFile(options.audio, parakeet.sample_rate))
    if options.timestamps:
        for word in transcript.words():
            print(f"{word.start:8.2f} {word.end:8.2f}  {word.text}")
    else:
        print(transcript.text)
    print(f"[{transcript.audio_seconds:.1f} s of audio, real-time factor {transcript.real_time_factor:.3f}]")


if __name__ == "__main__":
    main()
