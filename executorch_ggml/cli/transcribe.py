"""``executorch-ggml transcribe``: text from speech."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import AsJson, CacheType, DeviceName, Gguf, Pte, Threads, print_json, progress_bar
from .streams import model_text


def transcribe(
    pte: Pte,
    audio: Annotated[
        Path, typer.Argument(help="WAV, FLAC, ...: any rate, any number of channels.", show_default=False)
    ],
    gguf: Gguf = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Answer as soon as the model can, in steps of one token.")
    ] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="A line for each word, with its times.")] = False,
    stats: Annotated[bool, typer.Option(help="Print the real-time factor to stderr afterwards.")] = True,
    as_json: AsJson = False,
    threads: Threads = 0,
    cache_type: CacheType = "f16",
    device: DeviceName = "",
) -> None:
    """Transcribe an audio file (Parakeet, Voxtral Realtime). Text appears as it is decoded."""
    # Late: --help and other commands start without it.
    from executorch_ggml.speech.audio import AudioFile
    from executorch_ggml.speech.transcribe import open_transcriber
    from executorch_ggml.speech.transcript import Transcript
    from executorch_ggml.speech.voxtral.transcribe import VoxtralTranscriber

    file = AudioFile(audio)  # before a model is loaded for it
    with progress_bar(f"loading {pte.name}"):
        model = open_transcriber(pte, gguf, threads=threads, device=device or None)
    if isinstance(model, VoxtralTranscriber) and (streaming or cache_type != "f16"):
        model.close()
        step = 0.0 if streaming else None
        model = VoxtralTranscriber(
            pte, gguf, threads=threads, device=device or None, cache_type=cache_type, step_seconds=step
        )
    with model:
        file.rate = model.sample_rate
        result, start = Transcript(), time.perf_counter()
        live = not (timestamps or as_json)
        with progress_bar("listening") as progress:
            for token in model.stream(file, lambda seconds: progress(min(1.0, seconds / file.seconds))):
                result.tokens.append(token)
                if live:
                    _show(token.piece.decode("utf-8", "replace") if len(result.tokens) > 1 else result.text)
        result.seconds, result.audio_seconds = time.perf_counter() - start, file.seconds
    _finish(result, live, timestamps, as_json)
    if stats and not as_json:
        typer.echo(
            f"[{result.audio_seconds:.1f} s of audio in {result.seconds:.1f} s, "
            f"real-time factor {result.real_time_factor:.3f}]",
            err=True,
        )


def _show(text: str) -> None:
    typer.echo(model_text(text), nl=False)
    sys.stdout.flush()


def _finish(result: Any, live: bool, timestamps: bool, as_json: bool) -> None:
    words = [{"text": w.text, "start": round(w.start, 2), "end": round(w.end, 2)} for w in result.words()]
    if as_json:
        print_json(
            {
                "text": result.text,
                "words": words,
                "audio_seconds": result.audio_seconds,
                "seconds": result.seconds,
                "real_time_factor": result.real_time_factor,
            }
        )
    elif timestamps:
        for word in words:
            typer.echo(f"{word['start']:8.2f} {word['end']:8.2f}  {model_text(word['text'])}")
    elif live:
        typer.echo("")
