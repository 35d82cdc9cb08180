"""A language model: a `.pte` graph and a GGUF with its weights, ready to call.

    module = GGUFModule("qwen3.pte", "Qwen3-0.6B-Q8_0.gguf")
    logits = module.forward([[1, 2, 3]], [0, 1, 2])[0]      # numpy in, numpy out
    for piece in module.generate("Once upon a time"):
        print(piece, end="", flush=True)

torch is neither imported nor needed; torch tensors are accepted, and then torch tensors are returned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.errors.tables import table
from executorch_ggml.runtime import _arrays
from executorch_ggml.runtime.check import Report, check
from executorch_ggml.runtime.gguf_file import GGUFFile
from executorch_ggml.runtime.program import Program

from .text import generate
from .text.generate import tokenizer_of

if TYPE_CHECKING:
    from executorch_ggml.runtime._callback import Progress

    from .text.constraint import JsonSchema
    from .text.generate import Generation, Prompt
    from .text.token_loop import TokenLoop
    from .text.tokenizer import Tokenizer

__all__ = ["GGUFModule"]

# Methods of a text model's `.pte` that only describe it.
_DESCRIPTION = ("get_max_seq_len", "get_vocab_size", "get_bos_id", "get_eos_ids")


class GGUFModule:
    """A `.pte` made by `export_gguf_to_pte`, with the weights of a GGUF of the same model, in any quantisation.

    One call at a time (BusyError otherwise).

    Args:
        pte: path of the exported graph.
        gguf: path of the weights, or an open GGUFFile. Modules loaded from one file share its weights in memory.
        cache_type: ggml type of the KV cache: "f16", "f32", "q8_0", ...
        threads: compute threads, None = physical cores available to the process.
        device: "cpu", or a name that `executorch_ggml.devices.devices()` lists.
        progress: called with a fraction 0..1 while loading; returning False cancels.

    Raises:
        FileError: a file cannot be read.
        FormatError: a file is malformed.
        BindError: the GGUF does not fit; `executorch_ggml.check` lists why.
        UnsupportedError: the program needs something that this version does not have.
        DeviceError: the device is missing or unusable.
        CancelledError: `progress` returned False.
    """

    def __init__(
        self,
        pte: str | os.PathLike[str],
        gguf: str | os.PathLike[str] | GGUFFile,
        *,
        cache_type: str = "f16",
        threads: int | None = None,
        device: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.pte = os.fspath(pte)
        self._owns_gguf = not isinstance(gguf, GGUFFile)
        self.gguf = gguf if isinstance(gguf, GGUFFile) else GGUFFile(gguf)
        try:
            self.program = Program(
                pte, self.gguf, cache_type=cache_type, threads=threads, device=device, progress=progress,
                methods=["forward"],
            )  # fmt: skip
        except BaseException:
            self._close_gguf()
            raise
        # Caches of positions may be overwritten anywhere. A summary of the sequence only moves on.
        self._any_order = all(state["kind"] == "kv_cache" for state in self.program.info()["states"])
        self._next, self._calls = 0, -1  # the position that may follow, while no other call has used the program

    def forward(self, input_ids: Any, cache_pos: Any) -> list[Any]:
        """Runs tokens at the given positions and returns [logits].

        Logits are float32 [1, 1, vocab], for the last token given ([1, T, vocab] when the `.pte` was exported with
        full_logits).

        Args:
            input_ids: integers [1, T], T in 1..max_seq_len.
            cache_pos: integers [T], each below max_seq_len. Position p attends to everything that calls so far have put
                at positions 0..p. A model with states other than KV caches takes positions in order: from 0, or from
                the end of the last call.

        Raises:
            InvalidArgumentError: positions out of order, for such a model.
            ShapeError: other shapes.
            DtypeError: no integers.
            ValueRangeError: a token id or position out of range.
            BusyError: another thread is inside.
        """
        inputs = [_integers(input_ids), _integers(cache_pos)]
        if self._any_order:
            return self.program.execute("forward", inputs)
        after = self._check_order(inputs[1])
        outputs = self.program.execute("forward", inputs)
        self._next, self._calls = after, self.program.info()["calls"]
        return outputs

    def _check_order(self, positions: Any) -> int:
        """The position after these. Raises InvalidArgumentError where they do not continue the states."""
        rows = [int(p) for p in positions.reshape(-1)]
        known = self._next if self.program.info()["calls"] == self._calls else 0
        first = rows[0] if rows else 0
        if rows != list(range(first, first + len(rows))) or first not in (0, known):
            end = f" or at {known}, the end of the last call" if known else ""
            raise InvalidArgumentError(
                f"{self.pte}: positions {rows!r:.60} do not continue the sequence. This model has states that cannot "
                f"go back: positions must be consecutive and start at 0{end}"
            )
        return first + len(rows)

    def __call__(self, input_ids: Any, cache_pos: Any) -> list[Any]:
        """`forward(input_ids, cache_pos)`"""
        return self.forward(input_ids, cache_pos)

    def reset(self) -> None:
        """Sets the states (KV caches and others) to their initial values."""
        self.program.reset()

    @property
    def tokenizer(self) -> Tokenizer:
        """The GGUF's tokenizer: `encode`, `decode`, `render_chat`. Made on first use."""
        return tokenizer_of(self.gguf)

    def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repeat_penalty: float = 1.0,
        repeat_last_n: int = 64,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        ignore_end: bool = False,
        tokenizer: Tokenizer | None = None,
        template: str = "default",
        template_options: Mapping[str, Any] | None = None,
        parse_special: bool = False,
        on_progress: Progress | None = None,
        method: str = "forward",
        max_chunk: int = 0,
        loop: TokenLoop | None = None,
        logprobs: int | None = None,
        json_schema: JsonSchema | None = None,
        grammar: str | None = None,
        regex: str | None = None,
    ) -> Generation:
        """Streams the continuation of `prompt`: see `executorch_ggml.text.generate` for prompts and options."""
        return generate(
            self, prompt, max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
            repeat_penalty=repeat_penalty, repeat_last_n=repeat_last_n, seed=seed, stop=stop, ignore_end=ignore_end,
            tokenizer=tokenizer, template=template, template_options=template_options, parse_special=parse_special,
            on_progress=on_progress, method=method, max_chunk=max_chunk, loop=loop, logprobs=logprobs,
            json_schema=json_schema, grammar=grammar, regex=regex,
        )  # fmt: skip

    def check(self) -> Report:
        """Compares the graph with the GGUF again: missing, extra and unfit tensors, metadata."""
        return check(self.pte, self.gguf)

    def describe(self) -> dict[str, Any]:
        """Facts of the `.pte`: max_seq_len, vocab_size, and bos_id, eos_ids if the model has them."""
        known = self.program.info().get("methods", {})
        names = known if isinstance(known, dict) else [m["name"] if isinstance(m, dict) else m for m in known]
        values = {}
        for name in _DESCRIPTION:
            if name in names:
                results = self.program.execute(name, [])
                values[name.removeprefix("get_")] = results if name == "get_eos_ids" else results[0]
        return values

    @property
    def max_seq_len(self) -> int:
        """Positions of the longest sequence."""
        return int(self.describe()["max_seq_len"])

    def info(self) -> dict[str, Any]:
        """pte, gguf (path, architecture, name, tensors, bytes), program (methods, device, states, ...), description."""
        file = self.gguf.info
        return {
            "pte": {"path": self.pte, "bytes": os.path.getsize(self.pte)},
            "gguf": {
                "path": self.gguf.path,
                "architecture": self.gguf.architecture,
                "name": self.gguf.metadata.get("general.name"),
                "tensors": file["tensors"],
                "bytes": file["file_bytes"],
            },
            "model": self.describe(),
            "program": self.program.info(),
        }

    def print_info(self) -> None:
        """Prints the loaded model and its device as a table to stdout."""
        print(_table(self.info()))

    def close(self) -> None:
        """Frees the program, and the GGUF unless it was given open. Raises BusyError while a call is running."""
        self.program.close()
        self._close_gguf()

    def _close_gguf(self) -> None:
        if self._owns_gguf:
            self.gguf.close()

    def __enter__(self) -> GGUFModule:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GGUFModule({self.pte!r}, {self.gguf.path!r})"


def _integers(value: Any) -> Any:
    """Integers as the int64 the graph takes; anything else as it is, for the program to refuse."""
    if _arrays.is_torch(value):
        return value if value.is_floating_point() or value.dtype.is_complex else value.long()
    array = np.asarray(value)
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _size(count: Any) -> str:
    return f"{count / 1e6:,.1f} MB" if isinstance(count, (int, float)) else "-"


def _bytes(states: list[dict[str, Any]], *, cache: bool) -> int:
    return sum(state["bytes"] for state in states if (state["kind"] == "kv_cache") == cache)


def _table(info: dict[str, Any]) -> str:
    program, model = info["program"], info["model"]
    states, weights = program.get("states") or [], program.get("weights") or {}
    rows = [
        ("model", f"{info['gguf']['name'] or '-'} ({info['gguf']['architecture']})"),
        ("graph", f"{info['pte']['path']} ({info['pte']['bytes'] / 1e3:,.1f} kB)"),
        ("weights", f"{info['gguf']['path']} ({_size(info['gguf']['bytes'])}, {info['gguf']['tensors']} tensors)"),
        ("mapped", f"{weights.get('count', '-')} tensors, {_size(weights.get('bytes'))}"),
        ("private", _size(weights.get("bytes_private"))),
        ("context", f"{model.get('max_seq_len', '-')} positions"),
        ("vocabulary", f"{model.get('vocab_size', '-')} tokens"),
        ("KV cache", f"{program.get('cache_type', '-')}, {_size(_bytes(states, cache=True))}"),
        ("other states", _size(_bytes(states, cache=False))),
        ("device", str(program.get("device", "-"))),
        ("threads", str(program.get("threads", "-"))),
    ]
    return table(rows)
