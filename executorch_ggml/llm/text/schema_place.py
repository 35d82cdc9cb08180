"""Where a JSON schema is wrong, as a JSON pointer: llguidance names the fault only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["place_of"]

_ONE = ("items", "additionalProperties", "contains", "propertyNames", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")


def place_of(schema: Any, fault: Callable[[Any], str]) -> str:
    """The innermost part of the schema with its fault. fault: names that of any schema, "" if it has none."""
    root = schema if isinstance(schema, dict) else {}
    shared = {key: root[key] for key in ("$defs", "definitions") if key in root}

    def alone(part: Any) -> str:
        # References of a part go to the definitions of the whole.
        return fault({**shared, **part} if isinstance(part, dict) else part)

    pointer, reason = "", alone(schema)
    while reason:
        for step, part in _parts(schema):
            found = alone(part)
            # Another fault may be none of the whole: an optional property that is impossible just stays away.
            if found and (found == reason or f"required property '{step.rsplit('/', 1)[-1]}'" in reason):
                pointer, schema, reason = pointer + step, part, found
                break
        else:
            break
    return f"#{pointer}"


def _parts(schema: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(schema, dict):
        return
    for key in _MAPS:
        inner = schema.get(key)
        for name, part in inner.items() if isinstance(inner, dict) else ():
            yield f"/{key}/{name}", part
    for key in _LISTS:
        inner = schema.get(key)
        for i, part in enumerate(inner if isinstance(inner, list) else ()):
            yield f"/{key}/{i}", part
    for key in _ONE:
        if isinstance(schema.get(key), (dict, bool)):
            yield f"/{key}", schema[key]
