"""The model of a command: a `.pte` with the weights beside it, or a GGUF alone, exported once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.errors.files import open_regular

from .options import Gguf, echo_err, load_program
from .stages import stages

if TYPE_CHECKING:
    from executorch_ggml.llm.text.sampling import Sampling
    from executorch_ggml.llm.text.tokenizer import Tokenizer
    from executorch_ggml.runtime.program import Program

Model = Annotated[
    Path,
    typer.Argument(
        help="A GGUF, whose graph is exported once; or an exported graph (.pte).", metavar="MODEL", show_default=False
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--max-seq-len",
        "--ctx",
        min=1,
        help="Positions for prompt and answer, of a GGUF alone. [default: the model's own, at most 4096]",
        show_default=False,
    ),
]
_POSITIONS = 4096  # of a chat: the cache of a model of 8 billion parameters then takes 0.6 GB
Outputs = Literal["last", "all"]
"""Logits of the last token of a call, or of every token."""

__all__ = ["Context", "Gguf", "Model", "Outputs", "TextModel", "graph_of", "is_gguf", "open_text_model"]


def is_gguf(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(4) == b"GGUF"


def graph_of(
    model: Path, gguf: Path | None, max_seq_len: int | None, *, quiet: bool = False, positions: int = _POSITIONS,
    outputs: Outputs = "last",
) -> tuple[Path, Path | None]:  # fmt: skip
    """The graph and the weights to load. The graph of a GGUF is exported when it is not in the cache.

    positions: of a GGUF's graph where max_seq_len is None; fewer where the model was trained for fewer.
    """
    if not is_gguf(model):
        if max_seq_len is not None:
            raise InvalidArgumentError(
                f"{model}: --max-seq-len goes with a GGUF alone; a .pte has the length that it was exported with"
            )
        return model, gguf
    if gguf is not None:
        raise InvalidArgumentError(f"{model}: this file has the weights already; leave out --gguf {gguf}")
    # Late: --help and other commands start without it.
    from executorch_ggml.gguf.header import read_header
    from executorch_ggml.llm.export import GGUFExportConfig
    from executorch_ggml.llm.graph_cache import bounded_length, cached_graph

    header = read_header(model)
    length = max_seq_len or bounded_length(header, positions)
    config = GGUFExportConfig(max_seq_len=length, full_logits=outputs == "all")
    with stages(f"exporting {model.name}, once") as stage:
        graph = cached_graph(header, config, on_stage=stage)
    if graph.made and not quiet:
        echo_err(f"[exported {graph.path}]")
    return graph.path, model


@dataclass(frozen=True)
class TextModel:
    """A loaded language model. sampling: the file's own. positions: of the cache, if the graph says so."""

    program: Program
    tokenizer: Tokenizer
    sampling: Sampling
    positions: int | None


def open_text_model(
    model: Path, gguf: Path | None, max_seq_len: int | None, threads: int, cache_type: str, device: str,
    *, quiet: bool = False, positions: int = _POSITIONS, outputs: Outputs = "last",
    profile: bool | None = None,
) -> TextModel:  # fmt: skip
    """Loads a language model and the tokenizer of its GGUF. Remarks go to stderr unless `quiet`. See `graph_of`."""
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.graph_cache import context_length
    from executorch_ggml.llm.text.generate import cache_size
    from executorch_ggml.llm.text.sampling_defaults import default_sampling
    from executorch_ggml.llm.text.tokenizer import Tokenizer
    from executorch_ggml.runtime.gguf_file import GGUFFile

    if gguf is None and not is_gguf(model):
        raise InvalidArgumentError(
            "text needs the GGUF's tokenizer: give --gguf (for a .pte with weights of its own, too)"
        )
    with GGUFFile(gguf or model) as file:
        tokenizer = Tokenizer.from_gguf(file)
        sampling = default_sampling(file.metadata)
        trained = context_length(file.metadata)
    pte, weights = graph_of(model, gguf, max_seq_len, quiet=quiet, positions=positions, outputs=outputs)
    program = load_program(pte, weights, threads, cache_type, device, profile=profile)
    room = cache_size(program)
    if trained is not None and room is not None and room > trained and not quiet:
        echo_err(f"[the graph has {room} positions, the model was trained for {trained}: text beyond is poor]")
    return TextModel(program, tokenizer, sampling, room)
