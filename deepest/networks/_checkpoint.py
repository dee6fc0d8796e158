"""A training in one file, to go on with."""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from deepest.io import read_tree, write_tree

_FORMAT = "deepest training"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The file of one training; `state` shows what its states are made of."""

    path: str | os.PathLike[str]
    action: Any
    held: Any
    road: Any
    state: PyTree[Array]
    force: bool = False

    def start(self, state: PyTree[Array], best: PyTree[Array], *, resume: bool) -> tuple[Any, Any, list[dict]]:
        """State, best weights and history to begin with: those given, or the file's."""
        folder = Path(self.path).parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{self.path} cannot be written: the folder {folder} does not exist.")
        if not Path(self.path).exists() or (self.force and not resume):
            return state, best, []
        if not resume:
            raise FileExistsError(
                f"{self.path} exists already; go on with resume=True, choose another name, or begin anew with "
                "force=True."
            )
        groups, attributes = read_tree(self.path)
        if attributes.get("format") != _FORMAT:
            raise ValueError(f"{self.path} is not a training that deepest saved.")
        if attributes["fingerprint"] != self._fingerprint():
            raise ValueError(f"{self.path} is of another training: its pairs, network, action or road differ.")
        held = {name: {key: array for key, (_, array, _) in group.items()} for name, group in groups.items()}
        rows = held["history"]
        names = [name for name in rows if name != "stage"]
        history = [{name: rows[name][k].item() for name in names} for k in range(len(rows["ratio"]))]
        return _filled(state, held["state"]), _filled(best, held["best"]), history

    def write(self, state: PyTree[Array], best: PyTree[Array], rows: list[dict]) -> None:
        """Put the training as it stands in the place of what the file held."""
        history = {name: (("stage",), np.array([row[name] for row in rows]), {}) for name in rows[0]}
        groups = {"state": _leaves(state), "best": _leaves(best), "history": history}
        attributes = {"format": _FORMAT, "fingerprint": self._fingerprint()}
        # The first stage takes the place of nothing, not even of what another process began to write meanwhile.
        write_tree(self.path, groups, attributes, force=self.force or len(rows) > 1)

    def _fingerprint(self) -> str:
        """A digest of everything that the training depends on, and of the pairs that judge it."""
        digest = hashlib.sha256()
        arrays, rest = eqx.partition((self.action, self.held, self.road, self.state), eqx.is_array)
        # A function is known by its name; where it lies in memory differs from process to process.
        made = [part for leaf in jax.tree.leaves(rest) for part in _inside(leaf, set())]
        for text in (str(jax.tree.structure(arrays)), eqx.tree_pformat(rest), *made):
            digest.update(re.sub(r" at 0x[0-9a-f]+", "", text).encode())
        for leaf in jax.tree.leaves(arrays):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()


def _inside(value: Any, seen: set[int]) -> Iterator[str]:
    """What a function is made of: its code and, wherever they lie in it, the numbers that it closes over, in which
    optax keeps a learning rate."""
    value = inspect.unwrap(value) if callable(value) else value
    if id(value) in seen:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, (bool, int, float)):
        # Schedules of optax turn a whole number that they close over into a float when they are first called.
        yield repr(float(value))
    elif isinstance(value, (np.ndarray, np.generic, jax.Array)):
        yield hashlib.sha256(np.asarray(value).tobytes()).hexdigest()
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _inside(part, seen)
    elif isinstance(value, functools.partial):
        yield from _inside((value.func, value.args, value.keywords), seen)
    elif inspect.isfunction(value):
        seen.add(id(value))
        yield value.__qualname__
        yield value.__code__.co_code.hex()
        for cell in value.__closure__ or ():
            # A cell is empty where what it names was never set.
            with contextlib.suppress(ValueError):
                yield from _inside(cell.cell_contents, seen)


def _leaves(tree: PyTree[Array]) -> dict[str, tuple]:
    """Every array of a tree by its number; axes are named by array and place."""
    leaves = enumerate(map(np.asarray, jax.tree.leaves(tree)))
    return {f"array{k}": (tuple(f"axis{k}_{n}" for n in range(leaf.ndim)), leaf, {}) for k, leaf in leaves}


def _filled(tree: PyTree[Array], arrays: dict[str, np.ndarray]) -> PyTree[Array]:
    leaves, structure = jax.tree.flatten(tree)
    new = [jnp.asarray(arrays[f"array{k}"], leaf.dtype) for k, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, new)
