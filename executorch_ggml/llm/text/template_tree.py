"""Before a foreign template is compiled: limits on its source, and accounting put into its syntax tree.

Jinja makes Python code from the tree. An operation that Jinja lets nobody intercept (comparisons, ``~``, slices, dict
literals, printing) becomes a filter of ours here. Loops, macros and blocks begin with a step that pays for the nodes
of their body, so that no stretch of code runs unpaid.
"""

# ruff: noqa: N802 - methods of Jinja's visitors are named after its nodes

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import ext, nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.visitor import NodeTransformer

from .template_budget import Budget

MAX_TEMPLATE = 1 << 18  # characters of source; the longest of real models has 17,000
MAX_TOKENS = 30_000  # the most of real models are 3,800
MAX_TREE = 20_000  # nodes of the syntax tree; 1,300
MAX_NESTING = 120  # of the syntax tree; 29
MAX_PYTHON = 1 << 22  # characters of the code that Jinja makes

_INLINE = 64  # characters of template text that are paid with the body they stand in
_OPENERS = frozenset(["for", "if", "macro", "call", "filter", "with", "block", "autoescape", "generation"])
_BRACKETS = {"lparen": 1, "lbracket": 1, "lbrace": 1, "rparen": -1, "rbracket": -1, "rbrace": -1}
_PREFIXES = frozenset(["add", "sub"])
_MEMORY: dict[type[nodes.Node], int] = {nodes.Dict: 24, nodes.List: 8, nodes.Tuple: 8}


class Generation(ext.Extension):
    """``{% generation %}..{% endgeneration %}``, with which training code marks replies: here it is only its body."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own class attribute

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


class Limits(ext.Extension):
    """Counts tokens and nesting as the parser, which is recursive, takes them."""

    def filter_stream(self, stream: Any) -> Iterator[Any]:
        brackets = blocks = run = 0
        at_statement = block_set = False
        compiling: Budget = self.environment.compiling  # type: ignore[attr-defined]
        for count, token in enumerate(stream, 1):
            compiling.charge(1)
            kind = token.type
            brackets += _BRACKETS.get(kind, 0)
            prefix = kind in _PREFIXES or (kind == "name" and token.value in ("not", "else"))
            run = run + 1 if prefix else 0 if kind in ("block_end", "variable_end", "comma") else run
            if at_statement and kind == "name":
                if token.value in _OPENERS:
                    blocks += 1
                elif token.value.startswith("end"):
                    blocks -= 1
                block_set = token.value == "set"
            elif kind == "assign" and brackets == 0:
                block_set = False
            elif kind == "block_end" and block_set:  # {% set x %}..{% endset %}, not {% set x = 1 %}
                blocks, block_set = blocks + 1, False
            at_statement = kind == "block_begin"
            if count > MAX_TOKENS:
                raise SecurityError(f"it has more than {MAX_TOKENS} tokens")
            if max(brackets, blocks, run) > MAX_NESTING:
                raise SecurityError(f"it nests more than {MAX_NESTING} levels deep (line {token.lineno})")
            yield token


class BoundedGenerator(CodeGenerator):
    """Jinja's code generator, looking at the clock."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        self.environment.compiling.charge(1)  # type: ignore[attr-defined]
        return super().visit(node, *args, **kwargs)


def check_tree(tree: nodes.Template) -> None:
    """Raises SecurityError for a tree too large for Jinja's recursive compiler."""
    count = 0
    todo: list[tuple[nodes.Node, int]] = [(tree, 1)]
    while todo:
        node, depth = todo.pop()
        count += 1
        if count > MAX_TREE:
            raise SecurityError(f"it has more than {MAX_TREE} parts")
        if depth > MAX_NESTING:
            raise SecurityError(f"it nests more than {MAX_NESTING} levels deep (line {node.lineno})")
        todo += [(child, depth + 1) for child in node.iter_child_nodes()]


def account(tree: nodes.Template) -> None:
    """Puts the accounting into a tree."""
    _pay(tree)
    _Accounting().visit(tree)


class _Accounting(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:
        _pay(node)
        rounds = nodes.Const(_cost([node.test]) if node.test is not None else 0, lineno=node.lineno)
        self.generic_visit(node)
        node.iter = _filter(node.iter, "!rounds", rounds)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        _pay(node)
        return self.generic_visit(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        _pay(node)
        return self.generic_visit(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:
        _pay(node)
        return self.generic_visit(node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [_written(child) for child in node.nodes]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        rest = [part for operand in node.ops for part in (nodes.Const(operand.op), operand.expr)]
        return _filter(node.expr, "!compare", *rest)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node.nodes[0], "!concat", *node.nodes[1:])

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        for pair in node.items:
            if not isinstance(pair.key, nodes.Const):
                pair.key = _filter(pair.key, "!key")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filter(node.node, "!sliced")
        return node


def _pay(node: Any) -> None:
    """The first step of a body: charges the cost of one run through it."""
    price = nodes.Const(_cost(node.body), lineno=node.lineno)
    node.body.insert(0, nodes.ExprStmt(_filter(price, "!pay"), lineno=node.lineno))


def _cost(body: Iterable[nodes.Node]) -> int:
    """The price of one run through a body, without the bodies that pay for themselves.

    Four nodes cost one unit, which is about the time of a loop round. The memory of results and texts costs more.
    """
    count, texts, todo = 4, 0, list(body)
    while todo:
        node = todo.pop()
        count += 1 + _MEMORY.get(type(node), 0)
        if isinstance(node, nodes.TemplateData) and len(node.data) <= _INLINE:
            texts += len(node.data)
        if isinstance(node, nodes.For):
            todo += [node.iter, *node.else_]
        elif not isinstance(node, (nodes.Macro, nodes.CallBlock, nodes.Block)):
            todo += node.iter_child_nodes()
    return count // 4 + texts


def _written(node: nodes.Expr) -> nodes.Expr:
    if isinstance(node, nodes.TemplateData):
        if len(node.data) <= _INLINE:
            return node
        node = nodes.Const(node.data, lineno=node.lineno)
    return _filter(node, "!written")


def _filter(node: Any, name: str, *args: Any) -> nodes.Filter:
    """Names that begin with "!" cannot be written in a template."""
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)
