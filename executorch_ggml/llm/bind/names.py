"""From the names of a module's parameters to those of a GGUF's tensors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch

from executorch_ggml.errors import BindError, InvalidArgumentError
from executorch_ggml.gguf.header import GgufHeader

from .hugging_face import Translation
from .tensors import Tensor

__all__ = ["Binding", "Names", "bind"]

Names = str | Mapping[str, "str | Sequence[str] | Tensor"] | Callable[[str], "str | Sequence[str] | Tensor | None"]
"""How parameters are called in the file: "gguf", "hf", a mapping, or a function (None: not in the file).

A `Tensor` says how a parameter is made of the file's tensor.
"""

_HEAD, _EMBEDDING = "output.weight", "token_embd.weight"
_SHOWN = 8


@dataclass(frozen=True)
class Binding:
    """The parameters of a module and where their data comes from.

    Attributes:
        keys: of each parameter that the file brings, the tensors to look for in order; the first that exists counts.
        own: parameters that keep the module's data.
        unused: tensors of the file that no parameter takes.
        made: of parameters that the file keeps in another form, how they are made of their tensor.
    """

    keys: Mapping[str, tuple[str, ...]]
    own: frozenset[str]
    unused: tuple[str, ...]
    made: Mapping[str, Tensor] = field(default_factory=dict)


def bind(module: torch.nn.Module, header: GgufHeader, names: Names = "gguf", own: Collection[str] = ()) -> Binding:
    """Looks for the tensor of every parameter of ``module`` in a file. Nothing but its header is read.

    Args:
        module: its parameters may be on the meta device.
        header: of the GGUF.
        names: ``"gguf"``: parameters are called as in the file, behind any prefix. ``"hf"``: as in the Hugging Face
            model of that architecture. A mapping from a parameter's name to a tensor's, or to several to look for in
            order; a name that it lacks counts as the file's. A function does the same, and None makes it the module's.
            A `Tensor` instead of a name makes the parameter of the file's tensor, as ``Tensor("a.weight").rows(0, 8)``.
        own: patterns of names (``"*.lora_*"``) of parameters that keep the module's data.

    Raises:
        BindError: parameters without a tensor, with the nearest names, or of another shape.
        InvalidArgumentError: ``names`` is of no such kind; a pattern that fits nothing; an own parameter on the meta
            device, which has no data.
        UnsupportedError: ``names="hf"`` for an architecture that keeps weights differently in its files.
    """
    candidates = _candidates(names, header)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    mine = _own(parameters, own)
    keys: dict[str, tuple[str, ...]] = {}
    missing: dict[str, tuple[str, ...]] = {}
    made: dict[str, Tensor] = {}
    for name in parameters:
        if name in mine:
            continue
        wanted = candidates(name)
        if wanted is None:
            mine.add(name)
            continue
        if isinstance(wanted, Tensor):
            made[name], wanted = wanted, (wanted.key,)
        elif wanted[-1] == _HEAD:
            wanted = (*wanted, _EMBEDDING)  # a file without a head has tied it to the embedding
        if not any(key in header.tensors for key in wanted):
            missing[name] = wanted
        else:
            keys[name] = wanted
    if missing:
        raise BindError(_missing_text(missing, header))
    _check_shapes(parameters, keys, made, header)
    _check_data(parameters, mine)
    taken = {next(key for key in wanted if key in header.tensors) for wanted in keys.values()}
    return Binding(keys, frozenset(mine), tuple(key for key in header.tensors if key not in taken), made)


def _candidates(names: Names, header: GgufHeader) -> Callable[[str], tuple[str, ...] | Tensor | None]:
    if names == "gguf":
        return lambda name: (_without_prefix(name, header.tensors),)
    if names == "hf":
        translation = Translation(header)
        return lambda name: (translation.key(name),)
    if isinstance(names, Mapping):
        mapping = names
        return lambda name: _several(mapping.get(name, _without_prefix(name, header.tensors)), name)
    if callable(names):
        function = names
        return lambda name: None if (found := function(name)) is None else _several(found, name)
    raise InvalidArgumentError(f"names must be 'gguf', 'hf', a mapping or a function, not {names!r:.60}")


def _several(found: Any, name: str) -> tuple[str, ...] | Tensor:
    if isinstance(found, Tensor):
        return found
    several = (found,) if isinstance(found, str) else tuple(found) if isinstance(found, Sequence) else ()
    if not several or not all(isinstance(key, str) for key in several):
        raise InvalidArgumentError(f"names gives {found!r:.60} for {name!r}; want the name of a tensor, or several")
    return several


def _without_prefix(name: str, tensors: Collection[str]) -> str:
    """The name, without the attributes of modules around the model if only that is in the file."""
    rest = name
    while rest not in tensors and "." in rest:
        rest = rest.partition(".")[2]
    if rest not in tensors and name.endswith(f".{_HEAD}"):
        return _HEAD  # tied, see above
    return rest if rest in tensors else name


def _own(parameters: Iterable[str], own: Collection[str]) -> set[str]:
    if isinstance(own, str):
        raise InvalidArgumentError(f"own must be a list of patterns, not the text {own!r}")
    found: set[str] = set()
    for pattern in own:
        fitting = {name for name in parameters if fnmatchcase(name, pattern)}
        if not fitting:
            raise InvalidArgumentError(f"own: no parameter is called {pattern!r}")
        found |= fitting
    return found


def _missing_text(missing: Mapping[str, tuple[str, ...]], header: GgufHeader) -> str:
    lines = []
    for name, wanted in list(missing.items())[:_SHOWN]:
        asked = "" if wanted == (name,) else f" (looked for {', '.join(wanted)})"
        near = difflib.get_close_matches(wanted[0], list(header.tensors), n=2, cutoff=0.6)
        lines.append(f"  {name}{asked}" + (f"; the file has {', '.join(near)}" if near else ""))
    more = len(missing) - _SHOWN
    if more > 0:
        lines.append(f"  and {more} more")
    return (
        f"{header.path}: {len(missing)} parameters of the module have no tensor in the file:\n"
        + "\n".join(lines)
        + "\nGive names=, or own= for parameters that keep the module's data"
    )


def _plain(shape: Iterable[int]) -> tuple[int, ...]:
    """Without leading dimensions of 1: the file does not tell [1, n] from [n]."""
    sizes = list(shape)
    while len(sizes) > 1 and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)


def _check_shapes(
    parameters: Mapping[str, torch.Tensor],
    keys: Mapping[str, tuple[str, ...]],
    made: Mapping[str, Tensor],
    header: GgufHeader,
) -> None:
    wrong = []
    for name, wanted in keys.items():
        key = next(key for key in wanted if key in header.tensors)
        there = made[name].shape(header) if name in made else tuple(header.tensors[key].shape)
        here = tuple(parameters[name].shape)
        if _plain(there) != _plain(here):
            wrong.append(f"  {name} has shape {here}, {key} has {there}")
    if wrong:
        more = f"\n  and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BindError(
            f"{header.path}: {len(wrong)} parameters do not fit their tensors:\n" + "\n".join(wrong[:_SHOWN]) + more
        )


def _check_data(parameters: Mapping[str, torch.Tensor], own: Collection[str]) -> None:
    empty = sorted(name for name in own if parameters[name].device.type == "meta")
    if empty:
        raise InvalidArgumentError(
            f"{', '.join(empty[:_SHOWN])}: the module's own, but on the meta device without data"
        )
