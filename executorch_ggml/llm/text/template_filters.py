"""The filters and tests of foreign templates: Jinja's own, each behind a step that pays for its work.

Jinja's list is allow-listed: ``attr`` (reaches attributes by computed names), ``random`` and ``urlize`` are not on it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.runtime import Undefined
from jinja2.tests import TESTS

from .template_format import percent
from .template_payment import PayingEnvironment

_CHEAP = "abs count d default first last length list items"
_TEXTS = "capitalize e escape forceescape lower safe string title upper wordcount striptags"
_LAZY = "map reject rejectattr select selectattr batch slice reverse"  # one round each over an iterable
_COMPARING = "dictsort groupby max min sort unique"
_MAX_ATTRIBUTE = 256  # characters: every dot of it is a step for every element
_MAX_DIGITS = 4000  # that int() reads; its time is quadratic
_MAX_WRAPPED = 1 << 16  # characters that wordwrap takes: its splitting is slow

_COMPARING_TESTS = {
    "==": "eq", "eq": "eq", "equalto": "eq", "!=": "ne", "ne": "ne", ">": "gt", "gt": "gt", "greaterthan": "gt",
    "ge": "gteq", ">=": "gteq", "<": "lt", "lt": "lt", "lessthan": "lt", "<=": "lteq", "le": "lteq", "in": "in",
}  # fmt: skip


def filters(sandbox: PayingEnvironment) -> dict[str, Callable[..., Any]]:
    """By name. Their results are charged; iterators among them pay for each element."""
    steps: dict[str, Callable[..., Any]] = {
        **dict.fromkeys(_CHEAP.split(), _as_it_is),
        **dict.fromkeys(_TEXTS.split(), _text),
        **dict.fromkeys(_LAZY.split(), _iterable),
        **dict.fromkeys(_COMPARING.split(), _compared),
        "list": _iterable,
        "center": _widened,
        "truncate": _widened,
        "indent": _indented,
        "trim": _trimmed,
        "wordwrap": _wrapped,
        "int": _number,
        "float": _number,
        "filesizeformat": _number,
        "round": _rounded,
        "urlencode": _whole,
        "xmlattr": _whole,
        "pprint": _printed,
    }
    found = {name: _charged(sandbox, FILTERS[name], step) for name, step in steps.items()}
    ours: dict[str, Callable[..., Any]] = {
        "tojson": to_json,
        "join": _join,
        "replace": _replace,
        "sum": _sum,
        "format": _format,
    }
    return found | {name: functools.partial(function, sandbox) for name, function in ours.items()}


def tests(sandbox: PayingEnvironment) -> dict[str, Callable[..., Any]]:
    """By name: Jinja's own, with those that compare, write or calculate behind the same steps."""
    found: dict[str, Callable[..., Any]] = {**TESTS}  # type: ignore[dict-item]
    for name, comparison in _COMPARING_TESTS.items():
        found[name] = functools.partial(_test, sandbox, comparison)
    for name in ("lower", "upper"):
        found[name] = functools.partial(_text_test, sandbox, TESTS[name])
    for name in ("odd", "even", "divisibleby"):
        found[name] = functools.partial(_number_test, TESTS[name])
    return found


def _charged(sandbox: PayingEnvironment, function: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja behind a step (sandbox, value, args, kwargs) -> value."""
    at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for value in (*args[at + 1 :], *kwargs.values()):
            sandbox.budget.weigh(value)
        value = step(sandbox, args[at], args[at + 1 :], kwargs)
        return sandbox.made(function(*args[:at], value, *args[at + 1 :], **kwargs))

    return wrapper


# ---------------------------------------------------------------- steps


def _as_it_is(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    sandbox.budget.charge(1)
    return value


def _text(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    """Values for a filter that takes text. Undefined ones stay, for their message."""
    if isinstance(value, str):
        sandbox.budget.charge(1 + len(value))
    elif not isinstance(value, (Undefined, int, float)):
        return sandbox.budget.text(value)
    return value


def _whole(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    sandbox.budget.weigh(value)
    return value


def _iterable(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    for text in (*args, *kwargs.values()):
        if isinstance(text, str) and len(text) > _MAX_ATTRIBUTE:
            raise SecurityError(f"an attribute of {len(text)} characters")
        if isinstance(text, int):  # batch and slice pad up to it
            sandbox.budget.check(abs(text))
    return sandbox.rounds(value)


def _compared(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    """Sorting and the like: each element meets log n others, with all that is inside."""
    value = _iterable(sandbox, value, args, kwargs)
    if isinstance(value, Iterator):
        value = list(value)
    weight = sandbox.budget.weigh(value)
    if hasattr(value, "__len__"):
        sandbox.budget.charge(weight * len(value).bit_length())
    return value


def _widened(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    for width in (*args, *kwargs.values()):
        if isinstance(width, int):
            sandbox.budget.check(abs(width))
    return sandbox.budget.text(value)


def _indented(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> str:
    text = sandbox.budget.text(value)
    width = args[0] if args else kwargs.get("width", 4)
    pad = len(width) if isinstance(width, str) else width if isinstance(width, int) else 0
    sandbox.budget.check(len(text) + (2 + len(text.splitlines())) * max(pad, 0))
    return text


def _trimmed(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    value = _text(sandbox, value, args, kwargs)
    for chars in (*args, *kwargs.values()):
        if isinstance(chars, str) and isinstance(value, str):
            sandbox.budget.charge(len(chars) * len(value) >> 4)
    return value


def _wrapped(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> str:
    text = sandbox.budget.text(value)
    if len(text) > _MAX_WRAPPED:
        raise SecurityError(f"wordwrap of {len(text)} characters; the limit is {_MAX_WRAPPED}")
    sandbox.budget.charge(16 * len(text))
    breaks = [len(item) for item in (*args, *kwargs.values()) if isinstance(item, str)]
    sandbox.budget.check(len(text) * (1 + sum(breaks)))
    return text


def _number(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    sandbox.budget.charge(1)
    if isinstance(value, str) and len(value) > _MAX_DIGITS:
        raise SecurityError(f"a number of {len(value)} characters")
    return value


def _rounded(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    for precision in (*args, *kwargs.values()):
        if isinstance(precision, int) and abs(precision) > 100:
            raise SecurityError(f"round to {precision} digits")
    return _number(sandbox, value, args, kwargs)


def _printed(sandbox: PayingEnvironment, value: Any, args: Any, kwargs: Any) -> Any:
    weight = sandbox.budget.weigh(value)
    sandbox.budget.charge(64 * weight)
    return value


# ---------------------------------------------------------------- filters of our own


def glue(sandbox: PayingEnvironment, between: str, items: Any) -> str:
    """``between.join(items)``, other values become text."""
    texts = [sandbox.budget.text(item) for item in sandbox.rounds(items)]
    size = sum(map(len, texts)) + len(between) * len(texts)
    sandbox.budget.check(size)
    sandbox.budget.charge(size)
    return between.join(texts)


def replaced(sandbox: PayingEnvironment, text: str, old: str, new: str, count: int = -1) -> str:
    whole = str(text)
    sandbox.budget.charge(len(whole))
    sandbox.budget.check(len(whole) + (whole.count(old) + 1) * len(new))
    result: str = sandbox.made(whole.replace(old, new, count))
    return result


def _join(sandbox: PayingEnvironment, value: Any, d: Any = "", attribute: str | int | None = None) -> str:
    _iterable(sandbox, (), (attribute,), {})
    items = value if attribute is None else map(_getter(sandbox, attribute), sandbox.rounds(value))
    return glue(sandbox, sandbox.budget.text(d), items)


def _replace(sandbox: PayingEnvironment, text: Any, old: Any, new: Any, count: int | None = None) -> str:
    whole, before, after = map(sandbox.budget.text, (text, old, new))
    return replaced(sandbox, whole, before, after, -1 if count is None else count)


def _sum(sandbox: PayingEnvironment, value: Any, attribute: str | int | None = None, start: Any = 0) -> Any:
    _iterable(sandbox, (), (attribute,), {})
    if isinstance(start, str):
        raise TypeError("sum() can't sum strings")
    items = sandbox.rounds(value)
    for item in items if attribute is None else map(_getter(sandbox, attribute), items):
        start = sandbox.call_binop(None, "+", start, item)
    return start


def _format(sandbox: PayingEnvironment, value: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise jinja2.TemplateRuntimeError("format takes positional or named arguments, not both")
    result: str = sandbox.made(percent(sandbox.budget, sandbox.budget.text(value), kwargs or args))
    return result


def _getter(sandbox: PayingEnvironment, attribute: str | int) -> Callable[[Any], Any]:
    return make_attrgetter(sandbox, attribute)


def to_json(
    sandbox: PayingEnvironment,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON (Jinja's own filter escapes for HTML, which would put \\u0027 into prompts)."""
    if indent is not None and not (len(indent) <= 16 if isinstance(indent, str) else 0 <= indent <= 16):
        raise SecurityError("tojson: indent must be between 0 and 16")
    between = sum(len(part) for part in separators or ())
    if between > 64:
        raise SecurityError("tojson: separators of more than 64 characters")
    sandbox.budget.check(sandbox.budget.weigh(value) * (1 + between // 4))
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=_plain
    )
    if indent is None:
        return sandbox.made(encoder.encode(value))  # type: ignore[no-any-return]
    parts, size = [], 0
    for part in encoder.iterencode(value):  # deep and indented JSON may be far longer than the value
        parts.append(part)
        size += len(part)
        sandbox.budget.charge(1 + len(part))
        sandbox.budget.check(size)
    return "".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, Undefined):
        raise jinja2.UndefinedError("tojson was given an undefined value")
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"tojson cannot write a {type(value).__name__}")


# ---------------------------------------------------------------- tests of our own


def _test(sandbox: PayingEnvironment, comparison: str, left: Any, right: Any) -> Any:
    return sandbox.compare(comparison, left, right)


def _text_test(sandbox: PayingEnvironment, test: Any, value: Any) -> Any:
    return test(sandbox.budget.text(value))


def _number_test(test: Any, *values: Any) -> Any:
    for value in values:
        if not isinstance(value, (int, float)):
            raise TypeError(f"a number was expected, not a {type(value).__name__}")  # "%9d" is odd would format
    return test(*values)
