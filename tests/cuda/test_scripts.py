"""The scripts that run on a machine with a GPU, as far as they go without one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from shared_models import child

from benchmarks.cuda.correctness import STEPS, Decoded, Setting


def test_a_file_that_cannot_be_written_is_told_and_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "tiny-f16.part").mkdir()  # where the file would be made
    done = child(
        *("benchmarks/cuda/make_models.py", str(tmp_path), "--models", "tiny", "--types", "f16", "q8_0", "--no-fused"),
        timeout=120,
    )
    assert done.returncode == 1
    assert "tiny-f16.gguf: FAILED" in done.stdout
    assert "IsADirectoryError" in done.stdout
    assert (tmp_path / "tiny-q8_0.gguf").exists()


def test_tokens_agree_or_are_a_tie() -> None:
    chosen = list(range(STEPS))
    assert Decoded(chosen, chosen, 0.0).agree
    other = [*chosen[:7], -1, *chosen[8:]]
    assert Decoded(chosen, other, 0.0).same == 7
    assert not Decoded(chosen, other, 0.0).agree
    assert Decoded(chosen, other, 0.0, tie=", then a tie").agree


def test_settings() -> None:
    assert Setting.parse("q8_0/f32") == Setting("q8_0", "f32")
    assert Setting("f32", "f16").bound() > Setting("f32", "f32").bound()
    assert Setting("q4_k_m", "f16").bound(9) > Setting("q4_k_m", "f16").bound(8)  # ggml's kernels from there on
    for text in ("q8_0", "what/f16"):
        with pytest.raises(argparse.ArgumentTypeError):
            Setting.parse(text)
