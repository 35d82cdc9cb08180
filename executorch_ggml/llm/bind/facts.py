"""The numbers of a lowered graph that a GGUF's metadata states too, and whether both say the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from executorch_ggml.errors import GgmlError, InvalidArgumentError, MismatchError
from executorch_ggml.gguf.header import GgufHeader, Value
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.llm.decoder.config import ROPE_NEOX, ROPE_NORM, RopeConfig
from executorch_ggml.llm.decoder.load import load_config

__all__ = ["FACTS", "Facts", "Stated", "check", "read_facts", "stated"]

_MODES = {ROPE_NORM: "neighbouring elements", ROPE_NEOX: "the halves of a head"}
FACTS = frozenset(
    {
        "LayerNorm epsilon",
        "RMSNorm epsilon",
        "RoPE base",
        "RoPE dimensions",
        "RoPE frequency scale",
        "RoPE pairs",
        "attention scale",
        "key heads",
        "query heads",
    }
)
"""By the names that messages use."""
_CLOSE = 1e-5  # the metadata are float32


@dataclass(frozen=True)
class Facts:
    """The numbers that a graph computes with, each value once, by the names that messages use."""

    values: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Stated:
    """The file's side: allowed values by fact, and the metadata that they come from (for other files of the model)."""

    values: Mapping[str, tuple[float, ...]]
    metadata: Mapping[str, Value]


def read_facts(payloads: Iterable[bytes]) -> Facts:
    """The facts of the graphs of a program."""
    found: dict[str, set[float]] = {}
    for payload in payloads:
        graph = deserialize(payload)
        for fact, value in _facts_of(graph):
            found.setdefault(fact, set()).add(value)
    return Facts({fact: tuple(sorted(values)) for fact, values in found.items()})


def _facts_of(graph: Any) -> Iterator[tuple[str, float]]:
    for node in graph.nodes or ():
        op, kind = node.op, type(node.op).__name__.removesuffix("T")
        if kind == "Rope":
            yield "RoPE base", op.freqBase
            yield "RoPE frequency scale", op.freqScale
            yield "RoPE dimensions", op.nDims
            yield "RoPE pairs", op.mode
        elif kind == "RmsNorm":
            yield "RMSNorm epsilon", op.eps
        elif kind == "Norm":
            yield "LayerNorm epsilon", op.eps
        elif kind == "FlashAttn":
            yield "attention scale", op.scale
            for fact, source in (("query heads", 0), ("key heads", 1)):
                heads = _literal(graph, graph.nodes[node.src[source]], 2)
                if heads is not None:
                    yield fact, heads


def _literal(graph: Any, node: Any, dimension: int) -> int | None:
    """A dimension of a node's result, None if it depends on a call's inputs."""
    size = int(graph.shapes[node.shape].ne[dimension])
    return size if size >= 0 else None


def stated(header: GgufHeader) -> Stated:
    """The file's numbers for them. An architecture of ours says all, another one its plain numbers."""
    try:
        config = load_config(header, 2)
    except GgmlError:
        return _plainly(header)
    ropes = [rope for rope in config.rope if rope is not None]
    values: dict[str, tuple[float, ...]] = {
        "RMSNorm epsilon": (config.eps,),
        "attention scale": (config.attention_scale,),
        "query heads": (config.heads,),
        "key heads": (config.kv_heads,),
        **_of_ropes(ropes),
    }
    return Stated(values, config.metadata)


def _of_ropes(ropes: list[RopeConfig]) -> dict[str, tuple[float, ...]]:
    return {
        "RoPE base": tuple({rope.base for rope in ropes}),
        "RoPE frequency scale": tuple({rope.scale for rope in ropes}),
        "RoPE dimensions": tuple({rope.dims for rope in ropes}),
        "RoPE pairs": tuple({rope.mode for rope in ropes}),
    }


_KEYS = {
    "rope.freq_base": "RoPE base",
    "rope.dimension_count": "RoPE dimensions",
    "attention.layer_norm_rms_epsilon": "RMSNorm epsilon",
    "attention.layer_norm_epsilon": "LayerNorm epsilon",
    "attention.head_count": "query heads",
    "attention.head_count_kv": "key heads",
    "attention.scale": "attention scale",
}


def _plainly(header: GgufHeader) -> Stated:
    architecture = header.get("general.architecture", "")
    values: dict[str, tuple[float, ...]] = {}
    metadata: dict[str, Value] = {"general.architecture": architecture} if architecture else {}
    for key, fact in _KEYS.items():
        value = header.get(f"{architecture}.{key}")
        several = value if isinstance(value, list) else [value]
        numbers = tuple(float(v) for v in several if isinstance(v, (int, float)) and not isinstance(v, bool))
        if value is not None and numbers:
            values[fact] = numbers
            metadata[f"{architecture}.{key}"] = value
    return Stated(values, metadata)


def check(facts: Facts, said: Stated, subject: str, given: Mapping[str, float | None] | None = None) -> dict[str, str]:
    """Holds the graph against the file.

    Args:
        given: by fact, the number that the graph must have instead of the file's; None: any.

    Returns:
        Of each fact, "same", "not compared", "not in the file" or "not found in the graph".

    Raises:
        MismatchError: a graph with other numbers than the file. It names all of them.
        InvalidArgumentError: ``given`` names something else than a fact.
    """
    given = given or {}
    if unknown := sorted(given.keys() - FACTS):
        raise InvalidArgumentError(f"expect: {', '.join(unknown)} is none of {', '.join(sorted(FACTS))}")
    wrong: list[str] = []
    report: dict[str, str] = {}
    for fact, values in facts.values.items():
        want = given.get(fact)
        allowed = said.values.get(fact) if want is None else (want,)
        if (fact in given and want is None) or not allowed:
            report[fact] = "not compared" if fact in given else "not in the file"
            continue
        report[fact] = "same"
        strange = [value for value in values if not any(_same(value, one) for one in allowed)]
        if strange:
            wrong.append(f"  {fact}: the graph has {_shown(fact, strange)}, expected is {_shown(fact, allowed)}")
    report |= dict.fromkeys(sorted(said.values.keys() - facts.values.keys()), "not found in the graph")
    if wrong:
        raise MismatchError(
            f"{subject}: the graph is not that of this file, its results would be wrong:\n"
            + "\n".join(wrong)
            + "\nCorrect the module; or give a fact that is meant to differ as expect={name: number}"
        )
    return report


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= _CLOSE * max(abs(a), abs(b))


def _shown(fact: str, values: Iterable[float]) -> str:
    if fact == "RoPE pairs":
        return " and ".join(_MODES.get(int(value), str(value)) for value in values)
    return ", ".join(f"{value:.6g}" for value in values)
