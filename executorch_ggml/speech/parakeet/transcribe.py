"""Transcribing with a Parakeet `.pte`: any length, bounded memory, tokens as they are decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import FormatError, InvalidArgumentError
from executorch_ggml.speech.frontend import FeatureStream, Statistics
from executorch_ggml.speech.package import SpeechProgram, check_seconds
from executorch_ggml.speech.transcriber import Transcriber
from executorch_ggml.speech.transcript import Token

from .decode import GreedyDecoder

__all__ = ["FAMILY", "ParakeetTranscriber"]

FAMILY = "parakeet-tdt"
Array = npt.NDArray[np.float32]
_BLOCK = 1024
_CONTEXT_SECONDS = 4.0


class ParakeetTranscriber(Transcriber):
    """A Parakeet that is ready to listen.

    pte: a result of `export_checkpoint`. gguf: its weights, when they are not inside. chunk_seconds, context_seconds: a
    recording longer than one call of the encoder is cut into chunks. Each is encoded with this much audio on both
    sides. Defaults: the longest that the `.pte` allows, and 4 s (a quarter of a short one).

    The spectrum is normalised over the whole recording, so audio is read twice. Memory does not depend on its length.

    Raises FormatError for a `.pte` of another model, InvalidArgumentError for chunks that do not fit, and the errors of
    `Program`. One recording at a time.
    """

    def __init__(
        self,
        pte: str | os.PathLike[str],
        gguf: str | os.PathLike[str] | None = None,
        *,
        chunk_seconds: float | None = None,
        context_seconds: float | None = None,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.model = SpeechProgram(pte, gguf, family=FAMILY, device=device, threads=threads)
        model = self.model
        self.sample_rate, self.hop = model.number("sample_rate"), model.number("hop")
        self.subsampling, self.max_frames = model.number("subsampling"), model.number("max_frames")
        self.durations = model.facts.get("durations")
        if not isinstance(self.durations, list) or not all(isinstance(d, int) and d >= 0 for d in self.durations):
            raise FormatError(f"{model.path}: speech_config says durations = {self.durations!r}")
        self.frame_seconds = self.subsampling * self.hop / self.sample_rate
        self._plan(chunk_seconds, context_seconds)
        self._features = FeatureStream(
            lambda samples: model.run("log_mel", samples),
            hop=self.hop,
            window=model.number("window"),
            preemphasis=float(model.facts.get("preemphasis", 0.0)),
            at_once=min(_BLOCK, self.max_frames - 1),
            shortest=self.subsampling + 1,
        )

    def _plan(self, chunk_seconds: float | None, context_seconds: float | None) -> None:
        """Chunk and context in frames of log-mel, in whole frames of the encoder."""

        def whole(seconds: float) -> int:
            return max(1, round(seconds / self.frame_seconds)) * self.subsampling

        longest = self.max_frames // self.subsampling * self.subsampling
        if context_seconds is None:
            self.context = min(whole(_CONTEXT_SECONDS), longest // 4 // self.subsampling * self.subsampling)
        else:
            self.context = whole(check_seconds("context_seconds", context_seconds, self.frame_seconds))
        self.chunk = longest - 2 * self.context if chunk_seconds is None else whole(chunk_seconds)
        if self.chunk < self.subsampling or self.chunk + 2 * self.context > longest:
            chunk, context, most = (n * self.hop / self.sample_rate for n in (self.chunk, self.context, longest))
            raise InvalidArgumentError(
                f"chunks of {chunk:g} s with {context:g} s on both sides: one call of {self.model.path} takes "
                f"{most:g} s"
            )
        # A recording that fits into one call is not cut, unless chunks were requested.
        self.whole = self.max_frames if chunk_seconds is None else self.chunk

    def stream(self, audio: Iterable[Array], progress: Callable[[float], object] | None = None) -> Iterator[Token]:
        """Tokens as they are decoded.

        audio: blocks of float32 samples at `sample_rate`, an iterable that can be gone through twice (`AudioFile`, a
        list of arrays). Raises the errors of iterating it; InvalidArgumentError for an iterator.
        """
        if iter(audio) is audio:
            raise InvalidArgumentError("audio is read twice: give an AudioFile or a list of blocks, not an iterator")
        self.model.program.reset()
        statistics = Statistics(self.model.number("mels"))
        for frames in self._features(audio):
            statistics.add(frames)
        self.audio_seconds = statistics.count * self.hop / self.sample_rate
        decoder = self._decoder()
        for features, first, keep_from, keep_to in self._chunks(self._features(audio), statistics.count):
            encoded: Array = self.model.run("encoder", statistics.normalise(features)[None])
            begin = (keep_from - first) // self.subsampling
            end = -(-(keep_to - first) // self.subsampling)
            for e in decoder.feed(encoded[:, begin:end], keep_from // self.subsampling):
                start = e.frame * self.frame_seconds
                yield Token(
                    e.token, self.model.vocabulary.piece(e.token), start, start + e.duration * self.frame_seconds
                )
            if progress is not None:
                progress(keep_to * self.hop / self.sample_rate)

    def _decoder(self) -> GreedyDecoder:
        program = self.model.program

        def predict(token: int) -> Any:
            return program.execute("predictor", [np.array([[token]], np.int64)])[0]

        def join(frames: Array, prediction: Any) -> tuple[Any, Any]:
            tokens, durations = program.execute("joint", [frames, prediction])
            return tokens, durations

        return GreedyDecoder(
            predict,
            join,
            durations=self.durations or [],
            blank=self.model.number("vocab") - 1,
            max_symbols=self.model.number("max_symbols"),
            lookahead=self.model.number("lookahead"),
        )

    def _chunks(self, blocks: Iterable[Array], total: int) -> Iterator[tuple[Array, int, int, int]]:
        """(features, their first frame, first and last + 1 of the frames to keep), in frames of log-mel."""
        held: Array | None = None
        first = 0  # of the held frames
        source = iter(blocks)
        step = total if total <= self.whole else self.chunk
        for keep_from in range(0, total, step):
            keep_to = min(keep_from + step, total)
            need = min(keep_to + self.context, total)
            while held is None or first + len(held) < need:
                block = next(source)
                held = block if held is None else np.concatenate((held, block))
            begin = max(0, keep_from - self.context)
            held, first = held[begin - first :], begin
            yield held[: need - first], first, keep_from, keep_to
