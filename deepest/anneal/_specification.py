"""What a run was made of, as JSON and named arrays: an explicit list of what can be written down, and nothing else.

Code is written down by name, never by value, and a name is followed only into deepest's own modules unless the reader
trusts the file: to open a file must not run somebody else's code.
"""

import dataclasses
import importlib
import math
import re
import sys
from collections import OrderedDict
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

Arrays = dict[str, np.ndarray]
_KINDS = {"bool"} | {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float32", "float64"}


class UnwritableError(ValueError):
    """Why a value cannot be written down, as a clause: "it is a lambda"."""


class UntrustedError(ValueError):
    """The name of code that is not deepest's own."""


def describe(value: Any, place: str, arrays: Arrays) -> Any:
    """A value as JSON; arrays of any shape go under names that begin with `place` into `arrays`.

    Numbers, strings, None, arrays, lists, tuples, dicts, Equinox modules, and functions and classes that can be
    imported by name. Raises `UnwritableError` for anything else.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return _describe_array(value, place, arrays)
    if type(value) in (list, tuple):
        return {type(value).__name__: [describe(item, f"{place}.{k}", arrays) for k, item in enumerate(value)]}
    if type(value) in (dict, OrderedDict):
        pairs = [[describe(k, place, arrays), describe(v, f"{place}.{k}", arrays)] for k, v in value.items()]
        return {type(value).__name__: pairs}
    if isinstance(value, eqx.Module):
        fields = {
            field.name: describe(getattr(value, field.name), f"{place}.{field.name}", arrays)
            for field in dataclasses.fields(value)
            if field.name in vars(value)  # not those that the class holds for all
        }
        return {"module": _reference(type(value)), "fields": fields}
    if callable(value):
        return {"code": _reference(value)}
    raise UnwritableError(f"it holds a {type(value).__name__}, which cannot be stored")


def restore(node: Any, arrays: Arrays, trust: bool) -> Any:
    """The inverse of `describe`, equal to the bit.

    Raises `UntrustedError` for code outside deepest unless `trust`, and `ValueError` where a name leads nowhere or a
    class has other fields than it had.
    """
    if not isinstance(node, dict):
        return node
    (kind, content), *more = node.items()
    again = lambda item: restore(item, arrays, trust)
    match kind:
        case "float":
            return float(content)
        case "numpy":
            return arrays[content]
        case "scalar":
            return arrays[content][()]
        case "jax":
            return jnp.asarray(arrays[content])
        case "list":
            return [again(item) for item in content]
        case "tuple":
            return tuple(again(item) for item in content)
        case "dict" | "OrderedDict":
            return (dict if kind == "dict" else OrderedDict)((again(key), again(item)) for key, item in content)
        case "module":
            fields = {name: again(item) for name, item in dict(more)["fields"].items()}
            return _rebuilt(_resolve(content, trust), fields)
        case "code":
            return _resolve(content, trust)
    raise ValueError(f'it describes something by the unknown word "{kind}"')


def _describe_array(value, place: str, arrays: Arrays) -> dict[str, str]:
    if str(value.dtype) not in _KINDS:
        raise UnwritableError(f"it holds an array of {value.dtype}, which cannot be stored")
    name = plain = re.sub(r"[^\w.]", "_", place)
    while name in arrays:
        name = f"{plain}.{sum(other.startswith(plain) for other in arrays)}_"
    arrays[name] = np.asarray(value)
    kind = "jax" if isinstance(value, jax.Array) else "scalar" if isinstance(value, np.generic) else "numpy"
    return {kind: name}


def _rebuilt(cls: type, fields: dict[str, Any]) -> Any:
    """The module with these fields, as Equinox itself rebuilds one: no constructor runs."""
    if not (isinstance(cls, type) and issubclass(cls, eqx.Module)):
        raise ValueError(f"{cls!r} is no Equinox module")
    expected = {field.name for field in dataclasses.fields(cls)}
    own = {name for name in expected if not hasattr(cls, name)}
    if not own <= fields.keys() <= expected:
        raise ValueError(f"{cls.__name__} now has the fields {sorted(expected)}, and the file {sorted(fields)}")
    module = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(module, name, value)
    return module


def _reference(code: Any) -> str:
    """ "module:qualname" by which the very same object can be imported; the public module where there is one."""
    module, name = getattr(code, "__module__", None), getattr(code, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)):
        raise UnwritableError(f"it holds a {type(code).__name__}, which has no name to import it by")
    if "<lambda>" in name:
        raise UnwritableError("it holds a lambda, which cannot be imported by name")
    if module == "__main__":
        raise UnwritableError(f"{name} was defined in a script or notebook, from where it cannot be imported")
    if "<locals>" in name:
        raise UnwritableError(f"{name} was defined inside a function, from where it cannot be imported")
    for public in (re.split(r"\._", module)[0], module):
        if _follow(sys.modules.get(public), name) is code:
            return f"{public}:{name}"
    raise UnwritableError(f"{module}.{name} is something else than what was used")


def _follow(start: Any, name: str) -> Any:
    for part in name.split("."):
        start = getattr(start, part, None)
    return start


def _resolve(reference: str, trust: bool) -> Any:
    module, _, name = reference.partition(":")
    own = re.fullmatch(r"deepest(\.\w+)*", module) is not None
    if not (own or trust):
        raise UntrustedError(reference)
    try:
        code = _follow(importlib.import_module(module), name)
    except ImportError as error:
        raise ValueError(f"{reference} cannot be imported") from error
    if code is None:
        raise ValueError(f"{reference} is not there any more")
    # A module of deepest also holds the names that it imported itself.
    if not trust and not str(getattr(code, "__module__", "")).startswith("deepest."):
        raise UntrustedError(reference)
    return code
