"""One-step mutants of a function: each is the function with one thing changed, as a slip of the pen would.

Changed are operators, operands, constants (axes among them), comparisons, arguments, calls, names, slices and whole
statements. A mutant that does not compile, or is the same text as the original, is left out.
"""

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

OPERATORS = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.FloorDiv, ast.Sub),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult,),
}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
SWAPPED = {  # functions that are taken for one another
    "min": ("max", "sum"), "max": ("min", "sum"), "sum": ("max", "min"), "ceil": ("floor", "trunc"), "floor": ("ceil",),
    "round": ("floor", "ceil"), "abs": ("square",), "mean": ("sum", "max", "min"), "arccos": ("arcsin", "cos"),
    "sorted": ("list",), "index": ("count",),
}  # fmt: skip


def mutants(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every one-step mutant of a function as (what was changed, the mutant).

    The description names the changed place as it was and as it is, such as ``a + b -> a - b``, with its line.
    """
    source = textwrap.dedent(inspect.getsource(function))
    original = ast.parse(source)
    seen = {ast.unparse(original)}
    parameters = [argument.arg for argument in original.body[0].args.args]
    for position, node in enumerate(ast.walk(original)):
        for replacement in _replacements(node, parameters):
            tree = copy.deepcopy(original)
            target = list(ast.walk(tree))[position]
            changed = _Replace(target, replacement).visit(tree)
            text = ast.unparse(ast.fix_missing_locations(changed))
            if text in seen:
                continue
            seen.add(text)
            after = ast.unparse(replacement) if replacement is not None else "nothing"
            space = dict(function.__globals__)
            try:
                exec(compile(text, "mutant", "exec"), space)
            except SyntaxError:
                continue
            yield (
                f"line {node.lineno - original.body[0].lineno}: {ast.unparse(node)} -> {after}",
                space[function.__name__],
            )


class _Replace(ast.NodeTransformer):
    """Put one node in the place of another; None removes a statement."""

    def __init__(self, target: ast.AST, replacement: ast.AST | None) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> Any:
        if node is self.target:
            if self.replacement is None:
                return ast.Pass()
            return copy.deepcopy(self.replacement)
        return self.generic_visit(node)


def _replacements(node: ast.AST, parameters: list[str]) -> Iterator[ast.AST | None]:
    if isinstance(node, ast.BinOp):
        for operator in OPERATORS.get(type(node.op), ()):
            yield ast.BinOp(node.left, operator(), node.right)
        yield node.left
        yield node.right
        if isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv | ast.Mod | ast.Pow):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Compare):
        for operator in COMPARISONS.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [operator(), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _constants(node.value))
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Slice):
        yield ast.Slice(None, node.upper, node.step)
        yield ast.Slice(node.lower, None, node.step)
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters:
        yield from (ast.Name(other, ast.Load()) for other in parameters if other != node.id)
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) == 2:
        yield ast.Tuple(node.elts[::-1], ast.Load())
        yield from node.elts
    elif isinstance(node, ast.If):
        yield from node.body
        yield None
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Return):
        yield ast.Expr(node.value)
        yield ast.Expr(ast.Call(ast.Name("print", ast.Load()), [node.value], []))
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.For):
        yield None


def _constants(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        # one more means nothing to a million: from 100 on a constant is changed by a tenth
        near = [value + 1, value - 1] if abs(value) < 100 else [type(value)(value * 1.1), type(value)(value * 0.9)]
        return [*near, 0, -value]
    return [""] if isinstance(value, str) else []


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    yield from node.args  # the call removed
    if isinstance(node.func, ast.Attribute):
        if not isinstance(node.func.value, ast.Name) or node.func.value.id not in ("torch", "np", "math"):
            yield node.func.value
        for other in SWAPPED.get(node.func.attr, ()):
            yield ast.Call(ast.Attribute(node.func.value, other, ast.Load()), node.args, node.keywords)
    elif isinstance(node.func, ast.Name):
        for other in SWAPPED.get(node.func.id, ()):
            yield ast.Call(ast.Name(other, ast.Load()), node.args, node.keywords)
    for skip in range(len(node.args)):
        yield ast.Call(node.func, [arg for i, arg in enumerate(node.args) if i != skip], node.keywords)
    for skip in range(len(node.keywords)):
        yield ast.Call(node.func, node.args, [word for i, word in enumerate(node.keywords) if i != skip])
    for first in range(len(node.args) - 1):
        swapped = list(node.args)
        swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
        yield ast.Call(node.func, swapped, node.keywords)
