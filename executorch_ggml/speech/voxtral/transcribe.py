"""Transcribing with a Voxtral Realtime `.pte`: tokens as soon as the audio for them is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import AudioError, FormatError, InvalidArgumentError, ValueRangeError
from executorch_ggml.speech.frontend import FeatureStream
from executorch_ggml.speech.package import SpeechProgram
from executorch_ggml.speech.transcriber import Transcriber
from executorch_ggml.speech.transcript import Token

__all__ = ["FAMILY", "VoxtralTranscriber"]

FAMILY = "voxtral-realtime"
Array = npt.NDArray[np.float32]


class _Rows:
    """Rows of a sliding cache: where the next entries go, and when old ones make room.

    compact: moves the rows in `keep` to the front; None when the caches only fill up.
    """

    def __init__(self, rows: int, window: int, compact: Callable[[Any], object] | None) -> None:
        self.rows, self.window, self._compact = rows, window, compact
        self.position = self.row = 0

    def take(self, count: int) -> tuple[Any, Any]:
        """Positions and rows of `count` new entries. Raises ValueRangeError when there is no room."""
        if self.row + count > self.rows:
            if self._compact is None:
                raise ValueRangeError(
                    f"the recording is longer than the {self.rows} positions that were exported: export with more "
                    "(--max-seq-len), or with --streaming for audio without end"
                )
            self._compact(np.arange(self.row - self.window, self.row, dtype=np.int64))
            self.row = self.window
        positions = np.arange(self.position, self.position + count, dtype=np.int64)
        rows = np.arange(self.row, self.row + count, dtype=np.int64)
        self.position, self.row = self.position + count, self.row + count
        return positions, rows


class VoxtralTranscriber(Transcriber):
    """A Voxtral that is ready to listen.

    pte: a result of `export_checkpoint`. gguf: its weights; by default the GGUF of the same name beside it.
    step_seconds: audio that is waited for before the next call. 0.08, one token, answers soonest; by default as much as
    one call takes, which computes least. The text is the same.
    cache_type: storage of keys and values ("f16", "f32", "q8_0", ...).

    Raises FormatError for a `.pte` of another model, InvalidArgumentError for a step that is too long, and the errors
    of `Program`. One recording at a time.
    """

    def __init__(
        self,
        pte: str | os.PathLike[str],
        gguf: str | os.PathLike[str] | None = None,
        *,
        step_seconds: float | None = None,
        device: str | None = None,
        threads: int | None = None,
        cache_type: str | None = None,
    ) -> None:
        self.model = SpeechProgram(pte, gguf, family=FAMILY, device=device, threads=threads, cache_type=cache_type)
        number = self.model.number
        self.sample_rate, self.hop, self.downsample = number("sample_rate"), number("hop"), number("downsample")
        self.token_seconds = 2 * self.downsample * self.hop / self.sample_rate
        most = number("max_tokens")
        step = most if step_seconds is None else max(1, round(step_seconds / self.token_seconds))
        if step > most:
            raise InvalidArgumentError(
                f"steps of {step_seconds:g} s: one call of {self.model.path} takes {most * self.token_seconds:g} s"
            )
        self.step = step
        self.left, self.delay = number("left_pad_tokens"), number("delay_tokens")
        self.right = self.delay + number("right_pad_tokens")
        self.bos, self.eos, self.pad = number("bos"), number("eos"), number("pad")
        self.windows = {name: self._window(name) for name in ("encoder", "decoder")}
        self._features = FeatureStream(
            self._log_mel,
            hop=self.hop,
            window=number("window"),
            preemphasis=0.0,
            at_once=2 * self.downsample * step,
            shortest=2 * self.downsample,
            least=1,  # a step is a whole one, always
        )

    def _window(self, name: str) -> int:
        part = self.model.facts.get(name)
        if not isinstance(part, dict) or not isinstance(part.get("window"), int):
            raise FormatError(f"{self.model.path}: speech_config says {name} = {part!r}")
        return int(part["window"])

    def _log_mel(self, samples: Array) -> Array:
        mel: Array = self.model.run("log_mel", samples).transpose(0, 2, 1)
        return mel

    def stream(self, audio: Iterable[Array], progress: Callable[[float], object] | None = None) -> Iterator[Token]:
        """Tokens of text as they are decoded; the model's silences are left out.

        audio: blocks of float32 samples at `sample_rate`, any iterable: a microphone will do. Raises the errors of
        iterating it, and ValueRangeError when the decoder's caches are full and were not exported to slide.
        """
        for position, token in enumerate(self.steps(audio, progress), start=1 + self.left + self.delay):
            piece = self.model.vocabulary.piece(token)
            if piece:
                heard = max(0.0, (position - 1 - self.left - self.delay) * self.token_seconds)
                yield Token(token, piece, heard, heard + self.token_seconds)

    def steps(self, audio: Iterable[Array], progress: Callable[[float], object] | None = None) -> Iterator[int]:
        """The token of every position behind the prompt, silences and the end included."""
        self.model.program.reset()
        self.audio_seconds = 0.0
        compact = "compact_decoder" if self.model.facts.get("streaming") else None
        rows = self._rows("decoder", compact)
        prompt = [self.bos] + [self.pad] * (self.left + self.delay)
        waiting = np.zeros((1, 0, 0), np.float32)
        token: int | None = None
        for embeddings in self._embeddings(audio):
            waiting = np.concatenate((waiting, embeddings), axis=1) if waiting.size else embeddings
            if token is None and waiting.shape[1] >= len(prompt):
                token = self._decode(waiting[:, : len(prompt)], prompt, rows)
                waiting = waiting[:, len(prompt) :]
                yield token
            while token is not None and token != self.eos and waiting.shape[1]:
                token = self._decode(waiting[:, :1], [token], rows)
                waiting = waiting[:, 1:]
                yield token
            if progress is not None:
                progress(min(self.audio_seconds, max(0, rows.position - len(prompt)) * self.token_seconds))
            if token == self.eos:
                return

    def _rows(self, name: str, method: str | None) -> _Rows:
        compact = (lambda keep: self.model.run(method, keep)) if method is not None else None
        return _Rows(self.model.number(f"{name}_rows"), self.windows[name], compact)

    def _decode(self, audio: Array, tokens: list[int], rows: _Rows) -> int:
        positions, places = rows.take(len(tokens))
        inputs = (np.ascontiguousarray(audio), np.array([tokens], np.int64), positions, places)
        # Logits are looked at and dropped: no copy of them.
        (logits,) = self.model.program.execute("decoder", inputs, copy=False)
        return int(logits[0, -1].argmax())

    def _embeddings(self, audio: Iterable[Array]) -> Iterator[Array]:
        """Outputs of the encoder, [1, n, width], n up to a step."""
        rows = self._rows("encoder", "compact_encoder")
        for frames in self._features(self._padded(audio)):
            mel = np.ascontiguousarray(frames.T[None])
            positions, places = rows.take(len(frames) // 2)
            yield self.model.run("encoder", mel, positions, places)

    def _padded(self, audio: Iterable[Array]) -> Iterator[Array]:
        """Silence before, the recording, silence to a whole token and for the delay after it."""
        token = 2 * self.downsample * self.hop
        yield np.zeros(self.left * token, np.float32)
        count = 0
        for block in audio:
            count += len(block)
            self.audio_seconds = count / self.sample_rate
            yield block
        if not count:
            raise AudioError("there are no samples")
        yield np.zeros(-count % token + self.right * token, np.float32)
