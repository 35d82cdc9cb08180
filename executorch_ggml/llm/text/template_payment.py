"""An environment with operations that pay from a budget: the ground of the sandbox and of its filters."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2.runtime import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .template_budget import Budget

__all__ = ["ATOMS", "COMPARISONS", "PayingEnvironment"]

ATOMS = (str, int, float, type(None))

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda left, right: left in right,
    "notin": lambda left, right: left not in right,
}


class PayingEnvironment(ImmutableSandboxedEnvironment):
    """One rendering at a time: `budget` belongs to it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.budget = Budget(0)

    def rounds(self, value: Any, price: int = 0) -> Any:
        """An iterable that pays for its elements: at once where their number is known, else one by one.

        price: units more for each.
        """
        if isinstance(value, (str, list, tuple, dict, range)) and not price:
            self.budget.charge(1 + len(value))
            return value
        if isinstance(value, Undefined) or not isinstance(value, Iterable):
            return value
        return self._counted(iter(value), 1 + price)

    def _counted(self, items: Iterator[Any], price: int = 1) -> Iterator[Any]:
        for item in items:
            self.budget.charge(price)
            yield item

    def compare(self, name: str, left: Any, right: Any) -> Any:
        """One comparison, by its name in Jinja's tree."""
        budget = self.budget
        if isinstance(left, str) and isinstance(right, str):
            longer = len(left) + len(right)
            budget.charge(longer >> (2 if name in ("in", "notin") else 4))
        elif name in ("in", "notin"):
            if not isinstance(right, range) or not isinstance(left, int):
                budget.weigh(right)
            budget.weigh(left)
        elif isinstance(left, ATOMS) or isinstance(right, ATOMS):
            pass  # a container is not looked into
        else:
            budget.weigh(left)
            budget.weigh(right)
        return COMPARISONS[name](left, right)

    def made(self, value: Any) -> Any:
        """The result of a filter, an operator or a call."""
        if isinstance(value, Iterator):
            return self._counted(value, 4)
        return self.budget.result(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """As Jinja's, for a caller without a context, too."""
        return super().call_binop(context, operator, left, right)
