"""``%`` and ``str.format`` for foreign templates: the size of their output is known before it is written."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined

from .template_budget import Budget

MAX_WIDTH = 1000  # of one field

_PERCENT = re.compile(r"%(?:\((?P<key>[^()]*)\))?[#0\- +]*(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<type>[a-zA-Z%*])?")
_SPEC = re.compile(r"(?:.?[<>=^])?[+\- ]?z?#?(?P<width>\d*)[,_]?(?:\.(?P<precision>\d+))?[bcdeEfFgGnosxX%]?", re.DOTALL)
_TYPES = frozenset("diouxXeEfFgGcrsa%")


def percent(budget: Budget, text: str, values: Any) -> str:
    """``text % values``."""
    text = str(text)
    size = len(text)
    if not isinstance(values, Mapping):
        size += budget.weigh(values)
    for found in _PERCENT.finditer(text):
        if found["type"] not in _TYPES:
            raise SecurityError(f"{found[0]!r} is not available to templates")
        size += _field(found["width"], found["precision"])
        if found["key"] is not None and isinstance(values, Mapping) and found["key"] in values:
            size += budget.weigh(values[found["key"]])
        budget.check(size)
        budget.charge(1)
    written: str = text % values
    return written


def brace(budget: Budget, text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """``text.format(*args, **kwargs)``, without attributes and elements of the arguments."""
    parts: list[str] = []
    size, position = 0, 0
    for literal, field, spec, conversion in string.Formatter().parse(str(text)):
        parts.append(literal)
        size += len(literal)
        if field is not None:
            if field == "":
                field, position = str(position), position + 1
            if not (field.isidentifier() or (field.isdecimal() and len(field) < 10)):
                raise SecurityError("only {}, {0} and {name} are available to format() in templates")
            value = args[int(field)] if field.isdecimal() else kwargs[field]
            parts.append(_formatted(budget, value, spec or "", conversion))
            size += len(parts[-1])
        budget.check(size)
        budget.charge(1)
    return "".join(parts)


def _formatted(budget: Budget, value: Any, spec: str, conversion: str | None) -> str:
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise SecurityError(f"the format {spec!r} is not available to templates")
    _field(found["width"], found["precision"])
    budget.weigh(value)
    if conversion in ("r", "a"):
        value = repr(value) if conversion == "r" else ascii(value)
    elif conversion == "s" or isinstance(value, Undefined):
        value = str(value)
    return format(value, spec)


def _field(width: str | None, precision: str | None) -> int:
    total = 0
    for number in (width, precision):
        if number:
            if len(number) > 6 or int(number) > MAX_WIDTH:
                raise SecurityError(f"a field of {number[:20]} characters is too wide for a template")
            total += int(number)
    return total
