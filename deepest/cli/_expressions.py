"""Text that others wrote as equations, taken apart without ever being run: numbers, names, + − * / **, known functions.

minAone hands its equations to Python as they stand, so that Python's own grammar is theirs; `ast` reads them, and what
is not in the list above is refused before it gets into a file that somebody runs.
"""

import ast
import math
from collections.abc import Callable, Collection, Iterator, Mapping

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_CONSTANTS = {"pi": "jnp.pi", "E": "jnp.e"}
_ARGUMENTS = {"atan2": 2, "Max": 2, "Min": 2, "pow": 2}
FUNCTIONS = {
    **{name: f"jnp.{name}" for name in ("abs", "exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: f"jnp.arc{name[1:]}" for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2")},
    "Abs": "jnp.abs",
    "ln": "jnp.log",
    "Max": "jnp.maximum",
    "Min": "jnp.minimum",
    "pow": "jnp.power",
}
_LONGEST = 20_000


def parse(text: str) -> ast.expr:
    """The tree of an expression. Raises `ValueError` where the text is none."""
    if len(text) > _LONGEST:
        raise ValueError(f"an equation has at most {_LONGEST} characters; this one has {len(text)}")
    try:
        return ast.parse(text.replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f'"{_short(text)}" is not an equation') from None


def translate(tree: ast.expr, names: Mapping[str, str], functions: Mapping[str, int]) -> str:
    """The expression as Python with jax.numpy, with `names` in place of its own.

    `functions` are others that may be called, with how many arguments. Raises `ValueError` for all that is no number,
    name or operation of these.
    """
    try:
        return ast.unparse(_translated(tree, names, functions))
    except RecursionError:
        raise ValueError("its terms are nested too deeply") from None


def used(tree: ast.expr) -> set[str]:
    """All names in it."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _translated(node: ast.expr, names: Mapping[str, str], functions: Mapping[str, int]) -> ast.expr:
    again = lambda inner: _translated(inner, names, functions)
    match node:
        case ast.Constant(value=value) if (known := number(node)) is not None:
            # Arrays of 32 bits do not hold larger whole numbers.
            return ast.Constant(known if abs(known) >= 2**31 else value)
        case ast.Name(id=name):
            return ast.Name(_known(name, {**_CONSTANTS, **names}))
        case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=operand):
            return ast.UnaryOp(node.op, again(operand))
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS) and not _overflows(node):
            return ast.BinOp(again(left), op, again(right))
        case ast.Call(func=ast.Name(id="pow"), args=[base, power], keywords=[]):
            return ast.BinOp(again(base), ast.Pow(), again(power))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _called(name, [again(argument) for argument in arguments], functions)
    raise ValueError(
        f'"{_short(ast.unparse(node))}" is none of the numbers, names, + - * / ** and functions that may stand here'
    )


def _overflows(node: ast.BinOp) -> bool:
    """Whether it is a power of numbers that is too large, and would take Python for ever."""
    constant = all(number(side) is not None for side in (node.left, node.right))
    return isinstance(node.op, ast.Pow) and constant and number(node) is None


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _called(name: str, arguments: list[ast.expr], functions: Mapping[str, int]) -> ast.expr:
    wanted = functions.get(name, _ARGUMENTS.get(name, 1))
    code = _known(name, {**FUNCTIONS, **{function: function for function in functions}}, "among the functions")
    if len(arguments) != wanted:
        raise ValueError(f"{name} takes {wanted} argument{'s' * (wanted > 1)}; received {len(arguments)}")
    return ast.Call(ast.Name(code), arguments, [])


def _known(name: str, known: Mapping[str, str], kind: str = "among the names") -> str:
    if name not in known:
        raise ValueError(f'"{name}" is not {kind}; those are {", ".join(known)}')
    return known[name]


def squares(tree: ast.expr, data: Collection[str], states: Collection[str]) -> Iterator[tuple[str, str, float]]:
    """(y, x, w) of every term of Σ w (y − x)², with y among `data` and x among `states`.

    Raises `ValueError` where the expression is no such sum.
    """
    try:
        yield from _squares(tree, 1.0, lambda node: _difference(node, data, states))
    except RecursionError:
        raise ValueError("its terms are nested too deeply") from None


def _squares(node: ast.expr, weight: float, difference: Callable) -> Iterator[tuple[str, str, float]]:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            yield from _squares(left, weight, difference)
            yield from _squares(right, weight if isinstance(op, ast.Add) else -weight, difference)
            return
    scale, rest = _factors(node)
    if len(rest) == 1 and isinstance(rest[0], ast.BinOp) and rest[0] is not node:
        yield from _squares(rest[0], weight * scale, difference)
        return
    pairs = [difference(factor) for factor in rest]
    if len(pairs) != 2 or None in pairs or pairs[0][:2] != pairs[1][:2]:
        raise ValueError(f'"{_short(ast.unparse(node))}" is not of the form w*(data - state)**2')
    yield *pairs[0][:2], weight * scale * pairs[0][2] * pairs[1][2]


def _difference(node: ast.expr, data: Collection[str], states: Collection[str]) -> tuple[str, str, float] | None:
    """(y, x, 1) of y − x and (y, x, −1) of x − y."""
    match node:
        case ast.BinOp(left=ast.Name(id=left), op=ast.Sub(), right=ast.Name(id=right)):
            if left in data and right in states:
                return left, right, 1.0
            if left in states and right in data:
                return right, left, -1.0
    return None


def _factors(node: ast.expr) -> tuple[float, list[ast.expr]]:
    """A product as one number and all other factors."""
    value = number(node)
    if value is not None:
        return value, []
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            scale, rest = _factors(operand)
            return -scale, rest
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            (a, some), (b, more) = _factors(left), _factors(right)
            return a * b, some + more
        case ast.BinOp(left=left, op=ast.Div(), right=right) if number(right):
            scale, rest = _factors(left)
            return scale / (number(right) or 1.0), rest
        case ast.BinOp(left=base, op=ast.Pow(), right=power) if number(power) == 2:
            return 1.0, [base, base]
        case ast.Call(func=ast.Name(id="pow"), args=[base, power]) if number(power) == 2:
            return 1.0, [base, base]
    return 1.0, [node]


def number(node: ast.expr) -> float | None:
    """What an expression of numbers alone is; None for any other, and where it is not finite."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value) if abs(value) < 1e308 else None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = number(operand)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
            return _computed(number(left), op, number(right))
    return None


def _computed(a: float | None, op: ast.operator, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    operations: dict[type[ast.operator], Callable[[], float]] = {
        ast.Add: lambda: a + b,
        ast.Sub: lambda: a - b,
        ast.Mult: lambda: a * b,
        ast.Div: lambda: a / b,
        ast.Pow: lambda: math.pow(a, b),
    }
    try:
        value = operations[type(op)]()
    except (ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None
