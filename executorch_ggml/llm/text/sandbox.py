"""A Jinja environment for templates from untrusted files.

A chat template is a program inside a data file; CVE-2024-34359 and its successors exploited that. There are five
fences:

- Jinja's immutable sandbox: no underscore attributes, no mutation;
- allow-lists instead of deny-lists for filters, globals and methods;
- limits on the source and its tree before it is compiled (``template_tree.py``);
- a budget of work per rendering;
- a deadline in processor time (``template_budget.py``).

Every operation pays from the budget before it runs. So a template of a few bytes can neither spin, nor fill the memory,
nor nest beyond the stack.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jinja2 import ext, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.utils import Namespace

from . import template_filters
from .template_budget import Budget
from .template_format import brace, percent
from .template_payment import ATOMS, PayingEnvironment
from .template_tree import MAX_PYTHON, MAX_TEMPLATE, BoundedGenerator, Generation, Limits, account, check_tree

__all__ = ["MAX_TEMPLATE", "Budget", "Sandbox"]

_STR_METHODS = """capitalize casefold center count endswith expandtabs find format index isalnum isalpha isascii
    isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip
    partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith
    strip swapcase title upper zfill"""
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_STR_METHODS.split()),
    dict: frozenset(["copy", "get", "items", "keys", "values"]),
    list: frozenset(["copy", "count", "index"]),
    tuple: frozenset(["count", "index"]),
    int: frozenset(["bit_length"]),
    float: frozenset(["is_integer"]),
}
_PADDING = frozenset(["center", "ljust", "rjust", "zfill", "expandtabs"])
# Those for which CPython has no linear algorithm: time is the product of both lengths.
_QUADRATIC = frozenset(["rfind", "rindex", "rsplit", "rpartition", "strip", "lstrip", "rstrip"])
_CALL = 8  # units


class Sandbox(PayingEnvironment):
    """The environment. One rendering at a time: :attr:`budget` belongs to it."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])
    code_generator_class = BoundedGenerator

    def __init__(self) -> None:
        # trim_blocks and lstrip_blocks: as in Hugging Face's apply_chat_template, for which templates are written.
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            cache_size=0,
            optimized=False,  # folding constants at compile time would run filters outside any budget
            extensions=[ext.loopcontrols, Generation, Limits],
        )
        self.compiling = Budget(0)
        keep = {name: self.globals[name] for name in ("dict", "namespace", "joiner", "cycler")}
        self.globals = {**keep, "range": self._range}
        self.tests = template_filters.tests(self)  # type: ignore[assignment]
        self.filters = template_filters.filters(self)
        self.filters |= {
            "!pay": self._pay,
            "!rounds": self.rounds,
            "!written": self._written,
            "!compare": self._compare,
            "!concat": self._concat,
            "!sliced": self._sliced,
            "!key": self._key,
        }

    # ---------------------------------------------------------------- compile time

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        self.compiling = Budget(1 << 22, what="was compiled")
        tree = super()._parse(source, name, filename)
        check_tree(tree)
        account(tree)
        tree.set_environment(self)
        return tree

    def _compile(self, source: str, filename: str) -> Any:
        if len(source) > MAX_PYTHON:
            raise SecurityError(f"it becomes {len(source)} characters of Python; the limit is {MAX_PYTHON}")
        return super()._compile(source, filename)

    # ---------------------------------------------------------------- run time: called by the tree

    def _pay(self, price: int) -> None:
        self.budget.charge(price)

    def _written(self, value: Any) -> Any:
        if isinstance(value, str):
            self.budget.check(len(value))
            self.budget.charge(1 + len(value))
            return value
        return value if isinstance(value, Undefined) else self.budget.text(value)

    def _concat(self, *values: Any) -> str:
        texts = [self.budget.text(value) for value in values]
        size = sum(map(len, texts))
        self.budget.check(size)
        self.budget.charge(1 + size)
        return "".join(texts)

    def _sliced(self, value: Any) -> Any:
        self.budget.charge(1 + (len(value) if isinstance(value, (str, bytes, list, tuple)) else 0))
        return value

    def _key(self, value: Any) -> Any:
        self.budget.weigh(value)  # a tuple is hashed with all that is inside it
        return value

    def _compare(self, left: Any, *rest: Any) -> Any:
        """``a < b <= c``: rest is operator, value, operator, value, ..."""
        result = True
        for name, right in zip(rest[::2], rest[1::2], strict=True):
            result = self.compare(name, left, right)
            if not result:
                return result
            left = right
        return result

    # ---------------------------------------------------------------- run time: intercepted by Jinja

    def getitem(self, obj: Any, argument: Any) -> Any:
        if not isinstance(argument, ATOMS):
            self.budget.weigh(argument)
        return super().getitem(obj, argument)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget = self.budget
        budget.charge(_CALL + len(args))
        obj = self.wrap_str_format(obj) or obj
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str):
            obj = self._string_method(obj, owner, name, (*args, *kwargs.values()))
        elif isinstance(obj, LoopContext):  # {% for .. recursive %}
            args = tuple(map(self.rounds, args))
        elif not isinstance(obj, Macro) and obj is not Namespace:
            for value in (*args, *kwargs.values()):
                budget.weigh(value)
            if isinstance(owner, (list, tuple)) and name in ("count", "index"):
                budget.weigh(owner)
        budget.enter()
        try:
            return self.made(super().call(context, obj, *args, **kwargs))
        finally:
            budget.calls -= 1

    def _string_method(self, method: Any, owner: str, name: str, args: tuple[Any, ...]) -> Any:
        """Pays for a method of a string; ``join`` and ``replace`` become our own."""
        budget, size = self.budget, len(owner)
        if name == "join":
            return functools.partial(template_filters.glue, self, owner)
        if name == "replace":
            return functools.partial(template_filters.replaced, self, owner)
        budget.charge(size >> 1)
        for value in args:
            budget.weigh(value)
            if name in _PADDING and isinstance(value, int):
                budget.check(size * abs(value) if name == "expandtabs" else abs(value))
            elif name in _QUADRATIC and isinstance(value, str):
                budget.charge(size * len(value) >> 4)
        return method

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "+":
            self.budget.charge(sum(len(v) >> 2 for v in (left, right) if isinstance(v, (str, list, tuple))))
        elif operator == "*" and not numbers:
            for value, times in ((left, right), (right, left)):
                if isinstance(value, (str, bytes, list, tuple)) and isinstance(times, int):
                    self.budget.check(len(value) * max(times, 0))
        elif operator == "**" and not (_small(left) and _small(right)):
            raise SecurityError("the template raises to a power that is too large")
        elif operator == "%" and isinstance(left, (str, bytes)):
            if isinstance(left, bytes):
                raise SecurityError("'%' is not available for bytes")
            return self.made(percent(self.budget, left, right))
        elif operator == "-" and not numbers:  # of sets and views
            self.budget.weigh((left, right))
        return self.made(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, tuple) and attr in getattr(obj, "_fields", ()):  # group.grouper, group.list
            return True
        for kind, methods in _METHODS.items():
            if isinstance(obj, kind):
                return attr in methods
        return not callable(value) or type(obj).__module__.startswith("jinja2.")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format``, which can reach attributes and pad to any width, here a safe part of it."""
        owner, name = getattr(value, "__self__", None), getattr(value, "__name__", "")
        if not isinstance(owner, str) or name not in ("format", "format_map"):
            return None
        if name == "format_map":
            raise SecurityError("format_map is not available to templates")
        return functools.partial(self._brace, owner)

    def _brace(self, text: str, /, *args: Any, **kwargs: Any) -> str:
        return brace(self.budget, text, args, kwargs)

    def _range(self, *args: int) -> range:
        rounds = range(*args)
        self.budget.check(len(rounds))
        return rounds


def _small(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= 1024
