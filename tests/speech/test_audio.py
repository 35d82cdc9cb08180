"""Audio files: any rate and channel count come out as mono at one rate; hostile ones are refused with a reason."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executorch_ggml.errors import AudioError, FileError
from executorch_ggml.speech.audio import AudioFile, load_audio, mono_blocks

pytestmark = pytest.mark.quick


def write(path: Path, samples: Any, rate: int = 16000, **options: Any) -> Path:
    import soundfile

    soundfile.write(path, samples, rate, **options)
    return path


def wav(rate: int = 16000, channels: int = 1, data: bytes = bytes(3200), announced: int | None = None) -> bytes:
    """A PCM WAV whose header says what it is told to."""
    size = len(data) if announced is None else announced
    block = 2 * channels
    fmt = struct.pack("<HHIIHH", 1, channels, rate, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16)
        + fmt
        + struct.pack("<4sI", b"data", size)
        + data
    )


def tone(seconds: float, rate: int, hertz: float = 440.0) -> Any:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_any_rate_and_channels(suffix: str, channels: int, rate: int, tmp_path: Path) -> None:
    samples = np.stack([tone(0.5, rate) * (1 + i) / channels for i in range(channels)], axis=1)
    found = load_audio(write(tmp_path / f"a.{suffix}", samples, rate))
    assert found.dtype == np.float32
    assert abs(len(found) - 8000) <= 1
    wanted = tone(0.5, 16000) * (channels + 1) / (2 * channels)
    middle = slice(800, 7200)
    np.testing.assert_allclose(found[middle], wanted[middle], atol=2e-3)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE", "PCM_U8"])
def test_sample_formats(subtype: str, tmp_path: Path) -> None:
    found = load_audio(write(tmp_path / "a.wav", tone(0.1, 16000), subtype=subtype))
    np.testing.assert_allclose(found, tone(0.1, 16000), atol=1e-2)


def test_length_is_known_before_reading(tmp_path: Path) -> None:
    file = AudioFile(write(tmp_path / "a.wav", tone(1.5, 8000), 8000))
    assert (file.seconds, file.source_rate, file.channels) == (1.5, 8000, 1)
    assert [len(b) for b in file] == [len(b) for b in file]  # twice


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"RIFF", "not an audio file"),
        (b"no audio at all, but some bytes" * 10, "not an audio file"),
        (wav(data=b""), "no samples"),
        (wav(rate=0), "not an audio file|0 Hz"),
        (wav(rate=0xFFFFFFFF), "not an audio file|Hz"),
        (wav(rate=50), "50 Hz"),
        (wav(channels=0), "not an audio file|channels"),
        (wav(channels=5000), "not an audio file|channels"),
        (wav(announced=6400), "cut off: 6400 bytes"),
        (wav()[:1000], "cut off"),
        (wav()[:40], "not an audio file|no samples|cut off"),
    ],
)
def test_hostile_headers(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=reason):
        load_audio(path)


def test_a_flac_that_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.random.default_rng(0).standard_normal(50000) * 0.1)
    path.write_bytes(path.read_bytes()[:40000])
    with pytest.raises(AudioError):
        load_audio(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(value: float, tmp_path: Path) -> None:
    samples = np.zeros((1000, 2))
    samples[700, 1] = value
    with pytest.raises(AudioError, match="sample 700 is"):
        load_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        AudioFile(tmp_path / "none.wav")


@given(data=st.binary(max_size=200), cut=st.integers(0, 44), at=st.integers(0, 43), byte=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_any_bytes_end_in_samples_or_a_typed_error(
    data: bytes, cut: int, at: int, byte: int, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.wav"
    header = bytearray(wav(data=data)[: 44 + len(data)])
    header[at] = byte
    path.write_bytes(bytes(header)[: len(header) - cut])
    with contextlib.suppress(AudioError):
        assert load_audio(path).ndim == 1


def test_blocks_of_integers_and_floats() -> None:
    for block in (np.array([16384, -32768], np.int16), np.array([192, 0], np.uint8), np.array([0.5, -1.0])):
        np.testing.assert_allclose(np.concatenate(list(mono_blocks([block], 16000, 16000))), [0.5, -1.0])


def test_blocks_that_are_wrong() -> None:
    with pytest.raises(AudioError, match="no samples"):
        list(mono_blocks([], 16000, 16000))
    with pytest.raises(AudioError, match="0 Hz"):
        list(mono_blocks([np.zeros(3)], 0, 16000))
    with pytest.raises(AudioError, match=r"\[n\] or \[n, channels\]"):
        list(mono_blocks([np.zeros((1, 2, 3))], 16000, 16000))


@pytest.mark.parametrize("tail", [b"", b"\0"])
def test_a_recorder_that_was_switched_off(tail: bytes, tmp_path: Path) -> None:
    """Its data chunk still says 0: the samples are read to the end of the file, in every pass."""
    samples = (tone(0.3, 16000) * 32767).astype("<i2")
    path = tmp_path / "a.wav"
    path.write_bytes(wav(data=samples.tobytes() + tail, announced=0))
    file = AudioFile(path)
    assert file.frames == 4800
    for _ in range(2):
        np.testing.assert_allclose(np.concatenate(list(file)), samples / 32768, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_data_chunk_of_length_0_before_other_chunks(channels: int, tmp_path: Path) -> None:
    """Nothing was recorded: what follows is no samples."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(channels=channels, data=b"") + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(AudioError, match="no samples"):
        AudioFile(path)


@pytest.mark.parametrize(("bits", "align"), [(13, 1), (16, 1), (24, 2), (8, 2), (12, 3)])
def test_a_header_that_contradicts_itself(bits: int, align: int, tmp_path: Path) -> None:
    data = bytearray(wav())
    data[32:36] = struct.pack("<HH", align, bits)
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(AudioError, match=f"samples of {bits} bits"):
        AudioFile(tmp_path / "a.wav")


def test_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(FileError, match="FIFO"):
        AudioFile(tmp_path / "a.wav")
