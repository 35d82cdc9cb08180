"""How a method's results were arranged in Python: torch's pytree as JSON, which ExecuTorch keeps in the `.pte`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

_DICTS = frozenset({"builtins.dict", "collections.OrderedDict", "collections.defaultdict"})


def _tree(text: str | None, count: int) -> dict[str, Any] | None:
    """The tree, if it is one that is known here and has so many leaves."""
    try:
        version, tree = json.loads(text or "")
        known = version == 1 and sum(1 for _ in _paths(tree, ())) == count
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return tree if known else None


def _keys(node: dict[str, Any]) -> list[Any]:
    """Of a dictionary; in a defaultdict they follow its factory."""
    keys = json.loads(node["context"])
    if isinstance(keys, dict):
        keys = keys["dict_context"]
    if not isinstance(keys, list) or len(keys) != len(node["children_spec"]):
        raise ValueError("not the keys of a dictionary")
    return [k if isinstance(k, (str, int, float, bool)) else str(k) for k in keys]


def _paths(node: dict[str, Any], path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if node["type"] is None:
        yield path
        return
    children = node["children_spec"]
    keys = _keys(node) if node["type"] in _DICTS else range(len(children))
    for key, child in zip(keys, children, strict=True):
        yield from _paths(child, (*path, key))


def name_outputs(text: str | None, outputs: Sequence[dict[str, Any]]) -> None:
    """Puts the keys of dictionaries as names; where there are none, names stay."""
    tree = _tree(text, len(outputs))
    if tree is None:
        return
    for path, output in zip(_paths(tree, ()), outputs, strict=True):
        if any(isinstance(key, str) for key in path):
            output["name"] = ".".join(str(key) for key in path)


def rebuilt(text: str | None, results: Sequence[Any]) -> Any:
    """Results in their containers."""
    tree = _tree(text, len(results))
    return list(results) if tree is None else _build(tree, iter(results))


def _build(node: dict[str, Any], results: Iterator[Any]) -> Any:
    if node["type"] is None:
        return next(results)
    children = [_build(child, results) for child in node["children_spec"]]
    if node["type"] in _DICTS:
        return dict(zip(_keys(node), children, strict=True))
    return children if node["type"] == "builtins.list" else tuple(children)
