"""A Jinja environment for templates from files nobody vouches for.

A chat template is a program that arrives inside a data file (CVE-2024-34359 and its successors are what happens when
one forgets that). Four fences: Jinja's immutable sandbox (no underscore attributes, no mutation), allow-lists instead
of deny-lists for filters, globals and methods, a budget of work per rendering, and a deadline. Everything that repeats
or grows - loop rounds, calls, written text, results of operators and filters - draws on the budget, so that a template
of a few bytes can neither spin nor fill the memory.
"""

from __future__ import annotations

import functools
import json
import string
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import ext, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEMPLATE = 1 << 20  # characters of source
MAX_RESULT = 1 << 22  # characters or elements of any one value
SECONDS = 5.0

_FILTERS = """abs batch capitalize count d default dictsort e escape first float forceescape groupby int items last
    length list lower map max min reject rejectattr reverse round safe select selectattr slice sort string title trim
    unique upper wordcount"""
_STR_METHODS = """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower
    isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex
    rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"""
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_STR_METHODS.split()),
    dict: frozenset(["copy", "get", "items", "keys", "values"]),
    list: frozenset(["copy", "count", "index"]),
    tuple: frozenset(["count", "index"]),
    int: frozenset(["bit_length"]),
    float: frozenset(["is_integer"]),
}


class Budget:
    """Units of work left in one rendering."""

    def __init__(self, units: int) -> None:
        self._left = units
        self._deadline = time.monotonic() + SECONDS

    def charge(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise SecurityError("the template does more work than a chat template may")
        if time.monotonic() > self._deadline:
            raise SecurityError(f"the template ran for more than {SECONDS:.0f} s")

    def result(self, value: Any) -> Any:
        """Charges for a value just made and passes it on."""
        size = len(value) if isinstance(value, (str, bytes, list, tuple, dict)) else 1
        self.check(size)
        self.charge(1 + size)
        return value

    def check(self, size: int) -> None:
        if size > MAX_RESULT:
            raise SecurityError(f"the template makes a value of {size} elements; the limit is {MAX_RESULT}")


class _Generation(ext.Extension):
    """``{% generation %}..{% endgeneration %}``, with which training code marks replies: here it is only its body."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own class attribute

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment. One rendering at a time: :attr:`budget` belongs to it."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        # trim_blocks and lstrip_blocks: what Hugging Face's apply_chat_template sets, so templates are written for it.
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            cache_size=0,
            optimized=False,  # folding constants at compile time would run filters outside any budget
            extensions=[ext.loopcontrols, _Generation],
        )
        self.budget = Budget(0)
        keep = {name: self.globals[name] for name in ("dict", "namespace", "joiner", "cycler")}
        self.globals = {**keep, "range": self._range}
        self.filters = {name: self._charged(self.filters[name], name) for name in _FILTERS.split()}
        ours = {"tojson": _to_json, "indent": _indent, "join": self._join, "replace": self._replace}
        self.filters |= {name: self._charged(function, name) for name, function in ours.items()}
        self.filters["_sliced"] = self._sliced
        self.filters["_rounds"] = self._rounds
        self.filters["_made"] = lambda value: self.budget.result(value)
        self.filters["_written"] = self._written

    # ---------------------------------------------------------------- compile time: accounting goes into the tree

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _filter(loop.iter, "_rounds")
        for output in list(tree.find_all(nodes.Output)):
            output.nodes = [_filter(_expression(node), "_written") for node in output.nodes]
        for item in list(tree.find_all(nodes.Getitem)):
            if isinstance(item.arg, nodes.Slice):
                item.node = _filter(item.node, "_sliced")
        for concat in list(tree.find_all(nodes.Concat)):
            concat.nodes = [_filter(nodes.Concat(concat.nodes, lineno=concat.lineno), "_made")]
        tree.set_environment(self)
        return tree

    # ---------------------------------------------------------------- run time

    def _rounds(self, value: Any) -> Any:
        if isinstance(value, (str, list, tuple, dict, range)):
            self.budget.charge(1 + len(value))
            return value
        if isinstance(value, Undefined):
            return value
        return self._counted(iter(value))

    def _counted(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self.budget.charge(1)
            yield item

    def _written(self, value: Any) -> Any:
        self.budget.charge(1)
        if isinstance(value, Undefined):
            return value
        return self.budget.result(value if isinstance(value, str) else str(value))

    def _charged(self, function: Any, name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if name in ("batch", "slice"):  # both pad up to a number the template gives
                self.budget.check(sum(abs(value) for value in (*args, *kwargs.values()) if isinstance(value, int)))
            return self.budget.result(function(*args, **kwargs))

        return wrapper

    def _sliced(self, value: Any) -> Any:
        self.budget.charge(1 + (len(value) if isinstance(value, (str, bytes, list, tuple)) else 0))
        return value

    def _join(self, value: Any, d: str = "", attribute: str | int | None = None) -> str:
        items = list(value) if attribute is None else list(map(make_attrgetter(self, attribute), value))
        return self._glue(str(d), items)

    def _glue(self, glue: str, items: list[Any]) -> str:
        texts = [str(item) for item in items]
        self.budget.check(sum(map(len, texts)) + len(glue) * len(texts))
        return glue.join(texts)

    def _replace(self, text: Any, old: str, new: str, count: int = -1) -> str:
        whole = str(text)
        self.budget.check(len(whole) + (whole.count(old) + 1) * len(new))
        return whole.replace(old, new, -1 if count is None else count)

    def _range(self, *args: int) -> range:
        rounds = range(*args)
        self.budget.check(len(rounds))
        return rounds

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.budget.charge(sum(len(arg) for arg in args if isinstance(arg, (str, list, tuple, dict))))
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name in ("replace", "join"):
            obj = functools.partial(self._replace if name == "replace" else self._joined, owner)
        return self.budget.result(super().call(context, obj, *args, **kwargs))

    def _joined(self, glue: str, items: Any) -> str:
        return self._glue(glue, list(items))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(v) if isinstance(v, (str, bytes, list, tuple)) else None for v in (left, right)]
        if operator == "*":
            for size, times in ((sizes[0], right), (sizes[1], left)):
                if size is not None and isinstance(times, int):
                    self.budget.check(size * max(times, 0))
        if operator == "**" and not (_small(left) and _small(right)):
            raise SecurityError("the template raises to a power that is too large")
        if operator == "%" and sizes[0] is not None:
            raise SecurityError("'%' formatting is not available to templates; use '~'")
        if operator == "*" and isinstance(left, int) and isinstance(right, int) and max(abs(left), abs(right)) >> 2048:
            raise SecurityError("the template multiplies numbers that are too large")
        return self.budget.result(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        for kind, methods in _METHODS.items():
            if isinstance(obj, kind):
                return attr in methods
        return not callable(value) or type(obj).__module__.startswith("jinja2.")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format``, which can reach attributes and pad to any width, here only ``{}``, ``{0}``, ``{name}``."""
        owner, name = getattr(value, "__self__", None), getattr(value, "__name__", "")
        if not isinstance(owner, str) or name not in ("format", "format_map"):
            return None
        if name == "format_map":
            raise SecurityError("format_map is not available to templates")
        return functools.partial(self._format, owner)

    def _format(self, text: str, /, *args: Any, **kwargs: Any) -> str:
        parts, position = [], iter(range(len(args)))
        for literal, field, spec, conversion in string.Formatter().parse(text):
            parts.append(literal)
            if field is None:
                continue
            if spec or conversion or not (field == "" or field.isidentifier() or field.isdecimal()):
                raise SecurityError("only {}, {0} and {name} are available to format() in templates")
            index = next(position, len(args)) if field == "" else int(field) if field.isdecimal() else None
            parts.append(str(kwargs[field] if index is None else args[index]))
        return self._glue("", parts)


def _expression(node: nodes.Expr) -> nodes.Expr:
    return nodes.Const(node.data, lineno=node.lineno) if isinstance(node, nodes.TemplateData) else node


def _filter(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _small(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= 1024


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON (Jinja's own filter escapes for HTML, which would put \\u0027 into prompts)."""
    if indent is not None and not 0 <= indent <= 16:
        raise SecurityError("tojson: indent must be between 0 and 16")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=_plain
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Undefined):
        raise jinja2.UndefinedError("tojson was given an undefined value")
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"tojson cannot write a {type(value).__name__}")


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    if isinstance(width, int) and not 0 <= width <= 64:
        raise SecurityError("indent: width must be between 0 and 64")
    pad = " " * width if isinstance(width, int) else width[:64]
    lines = str(text).split("\n")
    if len(lines) * len(pad) > MAX_RESULT:
        raise SecurityError("indent: the result is too large")
    padded = [line if (i == 0 and not first) or not (line or blank) else pad + line for i, line in enumerate(lines)]
    return "\n".join(padded)
