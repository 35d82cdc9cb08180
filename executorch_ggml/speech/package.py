"""A speech model's `.pte` at run time: its program and its facts."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from executorch_ggml.errors import FormatError, InvalidArgumentError
from executorch_ggml.runtime.program import Program

from .vocabulary import Vocabulary, decode_json, decode_pieces

__all__ = ["SpeechProgram", "beside"]

logger = logging.getLogger(__name__)


def beside(pte: str | os.PathLike[str]) -> Path | None:
    """The GGUF with the weights of a `.pte` that has none: of the same name, in the same folder."""
    path = Path(pte).with_suffix(".gguf")
    return path if path.exists() else None


class SpeechProgram:
    """A loaded `.pte`, with the constants of its model (`facts`) and its vocabulary.

    gguf: the weights, when the `.pte` does not hold them; by default the GGUF of the same name beside it.
    family: the model that the caller can run; another model, or a `.pte` that is no speech model, is refused.

    Raises FormatError for a `.pte` of something else, and the errors of `Program`.
    """

    def __init__(
        self,
        pte: str | os.PathLike[str],
        gguf: str | os.PathLike[str] | None = None,
        *,
        family: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        cache_type: str | None = None,
    ) -> None:
        self.path = os.fspath(pte)
        weights = gguf if gguf is not None else beside(pte)
        # Every length of audio makes a plan of its own, which holds the memory of all activations. Few are kept: chunks
        # are of one length but for the last.
        self.program = Program(pte, weights, device=device, threads=threads, cache_type=cache_type, max_plans=4)
        methods = {method["name"] for method in self.program.info()["methods"]}
        if "speech_config" not in methods or "speech_vocabulary" not in methods:
            self.program.close()
            raise FormatError(
                f"{self.path}: not a speech model: it has no method 'speech_config', which `executorch-ggml export` "
                f"writes for a speech checkpoint; its methods are {', '.join(sorted(methods))}"
            )
        self.facts = decode_json(self._constant("speech_config"))
        self.vocabulary = Vocabulary(decode_pieces(self._constant("speech_vocabulary")))
        self.family = str(self.facts.get("family", ""))
        if family is not None and self.family != family:
            self.program.close()
            raise FormatError(f"{self.path}: a {self.family or 'nameless'} model, not {family}")

    def _constant(self, name: str) -> bytes:
        data: bytes = self.program.execute(name, [])[0].tobytes()
        return data

    def number(self, key: str) -> int:
        """A fact that is a positive integer. Raises FormatError when it is missing or something else."""
        value = self.facts.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FormatError(f"{self.path}: speech_config says {key} = {value!r}; a positive integer is needed")
        return value

    def run(self, method: str, *inputs: Any) -> Any:
        """The first output of a method."""
        return self.program.execute(method, inputs)[0]

    def close(self) -> None:
        self.program.close()

    def __enter__(self) -> SpeechProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_seconds(name: str, value: float, least: float) -> float:
    """Raises InvalidArgumentError for a duration that is not a number or too short."""
    if not value >= least or value == float("inf"):
        raise InvalidArgumentError(f"{name} must be at least {least:g} seconds, got {value!r}")
    return value
