"""Audio files as blocks of mono float32 samples at one rate, as every speech model takes them.

Files are decoded by libsndfile (the package `soundfile`): WAV, FLAC, and its other formats. A file is read in blocks,
so its length costs no memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import AudioError, LibraryError
from executorch_ggml.errors.files import open_regular

from .resample import Resampler
from .wav import Unfinished, check_wav

__all__ = ["AudioFile", "Samples", "load_audio", "mono_blocks"]

logger = logging.getLogger(__name__)

Samples = npt.NDArray[np.float32]

_RATES = (1000, 768_000)
_CHANNELS = 64
_BLOCK = 1 << 16


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is there, libsndfile is not
        raise LibraryError(
            f"reading audio files takes the package soundfile: pip install 'executorch-ggml[speech]' ({error})"
        ) from error
    return soundfile


class AudioFile:
    """An audio file, checked when it is opened. Iterating gives mono blocks at `rate`, from the beginning each time.

    path: WAV, FLAC, or anything else that libsndfile decodes. rate: of the output, in Hz.

    Raises:
        FileError: there is no such file, or it cannot be read.
        AudioError: it is not audio, has no samples, or its header is impossible (0 Hz, 1000 channels). While iterating:
            it ends before its header says, or holds samples that are not finite.
    """

    def __init__(self, path: str | os.PathLike[str], rate: int = 16000) -> None:
        self.path, self.rate = os.fspath(path), rate
        library = _soundfile()
        with _open(library, self.path) as file:
            self.source_rate, self.channels, self.frames = int(file.samplerate), int(file.channels), int(file.frames)
        low, high = _RATES
        if not low <= self.source_rate <= high:
            raise AudioError(f"{self.path}: a sample rate of {self.source_rate} Hz; {low} to {high} Hz can be read")
        if not 1 <= self.channels <= _CHANNELS:
            raise AudioError(f"{self.path}: {self.channels} channels; 1 to {_CHANNELS} can be read")
        if self.frames < 1:
            raise AudioError(f"{self.path}: the file has no samples")

    @property
    def seconds(self) -> float:
        return self.frames / self.source_rate

    def __iter__(self) -> Iterator[Samples]:
        return mono_blocks(self._source(), self.source_rate, self.rate, name=self.path)

    def _source(self) -> Iterator[Samples]:
        library, read = _soundfile(), 0
        with _open(library, self.path) as file:
            while read < self.frames:
                try:
                    block = file.read(min(_BLOCK, self.frames - read), dtype="float32", always_2d=True)
                except library.LibsndfileError as error:
                    raise AudioError(f"{self.path}: after {read} samples: {error}") from error
                if not len(block):
                    raise AudioError(
                        f"{self.path}: the file is cut off: {self.frames} samples announced, {read} are there"
                    )
                read += len(block)
                yield block


def _open(library: Any, path: str) -> Any:
    with open_regular(path) as file:
        if not file.read(1):
            raise AudioError(f"{path}: the file is empty")
    unfinished = check_wav(path)
    try:
        return library.SoundFile(path if unfinished is None else Unfinished(path, *unfinished))
    except (library.LibsndfileError, TypeError) as error:  # TypeError: an extension for headerless data
        raise AudioError(f"{path}: not an audio file that can be read: {error}") from error


def mono_blocks(blocks: Iterable[Any], source_rate: int, rate: int, *, name: str = "audio") -> Iterator[Samples]:
    """Blocks of samples [n] or [n, channels] to mono float32 blocks at another rate; channels are averaged.

    Integers are taken as full scale (int16 32768 is 1.0). Raises AudioError for samples that are not finite, for a rate
    out of range, and when there is not one sample.
    """
    low, high = _RATES
    if not low <= source_rate <= high:
        raise AudioError(f"{name}: a sample rate of {source_rate} Hz; {low} to {high} Hz can be read")
    resampler = Resampler(source_rate, rate)
    count = 0
    for block in blocks:
        samples = np.asarray(block)
        if samples.dtype.kind in "iu":
            info = np.iinfo(samples.dtype)
            middle = 0.0 if samples.dtype.kind == "i" else (info.max + 1) / 2
            samples = ((samples.astype(np.float64) - middle) / (-info.min if info.min else middle)).astype(np.float32)
        samples = samples.astype(np.float32, copy=False)
        if samples.ndim not in (1, 2):
            raise AudioError(f"{name}: samples are [n] or [n, channels], not {list(samples.shape)}")
        bad = ~np.isfinite(samples)
        if bad.any():
            where = count + int(np.argmax(bad.reshape(len(samples), -1).any(axis=1)))
            raise AudioError(f"{name}: sample {where} is {samples[np.nonzero(bad)][0]}, not a finite number")
        count += len(samples)
        mono = samples.mean(axis=1, dtype=np.float32) if samples.ndim == 2 else samples
        yield resampler.push(mono)
    if not count:
        raise AudioError(f"{name}: there are no samples")
    yield resampler.finish()


def load_audio(path: str | os.PathLike[str], rate: int = 16000) -> Samples:
    """The whole file, mono: float32 [n] at `rate`. Raises the errors of `AudioFile`."""
    return np.concatenate(list(AudioFile(path, rate)))
