"""The sampling of the command line: the file's values, else common ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from executorch_ggml.errors import FormatError
from executorch_ggml.llm.text.sampling_defaults import COMMON, default_sampling


def test_without_values() -> None:
    assert default_sampling({"general.name": "x"}) == COMMON
    assert COMMON.temperature > 0


def test_the_files_values() -> None:
    metadata = {
        "general.sampling.temp": np.float32(0.5),
        "general.sampling.top_k": np.int32(20),
        "general.sampling.penalty_repeat": 1.25,
        "general.sampling.penalty_last_n": -1,
    }
    expected = replace(COMMON, temperature=0.5, top_k=20, repeat_penalty=1.25, repeat_last_n=-1)
    assert default_sampling(metadata) == expected
    assert default_sampling({"general.sampling.temp": 0}).temperature == 0
    assert isinstance(default_sampling(metadata).top_k, int)


@pytest.mark.parametrize(
    "key, value",
    [("temp", "hot"), ("temp", -1.0), ("temp", float("nan")), ("top_p", 1.5), ("top_k", 2.5), ("min_p", True)],
)
def test_refused(key: str, value: Any) -> None:
    with pytest.raises(FormatError, match=f"general.sampling.{key}"):
        default_sampling({f"general.sampling.{key}": value})
