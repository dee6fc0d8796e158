"""Vector fields for networks of continuous depth, and weights that depend on it."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from deepest.networks._layers import Dense


class DenseField(eqx.Module):
    """F(t, x) = W_2 activation(W_1 x + u t + b) + c, with x (size,) and `width` neurons between; u only with `time`.

    Weights are drawn as those of `Dense`, W_2 with the gain `gain`.
    """

    inside: Dense
    outside: Dense
    time: bool = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        width: int,
        activation: Callable = jnp.tanh,
        *,
        time: bool = False,
        gain: float = 1.0,
        key: PRNGKeyArray,
    ):
        one, other = jax.random.split(key)
        self.inside = Dense(size + time, width, activation, key=one)
        self.outside = Dense(width, size, None, gain=gain, key=other)
        self.time = time

    def __call__(self, t: Float[Array, ""], x: Float[Array, " size"], args: Any = None) -> Float[Array, " size"]:
        given = jnp.append(x, t.astype(x.dtype)) if self.time else x
        return self.outside(self.inside(given))


class AbstractDepthField(eqx.Module):
    """A vector field `(t, x, args)` with weights at places along a depth T, which it shares with its network."""

    depth: eqx.AbstractVar[float]
    pieces: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, t: Float[Array, ""], x: Array, args: Any = None) -> Array:
        """dx/dt at t, of the shape of x (…)."""

    @abc.abstractmethod
    def between(self, start: Float[Array, ""], end: Float[Array, ""]) -> Callable:
        """The field for a step that leaves no piece."""


class Piecewise(AbstractDepthField):
    """Weights that are constant on each of K equal pieces of the depth: F(t, x) = F_k(t, x), k = ⌊K t/T⌋.

    `fields` are K vector fields of one structure. A step of a network belongs to the piece in which it lies, so that
    the jump at its end does not cost its solver an order; a network has a whole number of layers in each piece.
    Raises `ValueError` for no fields, fields that differ in more than numbers, and a depth that is not positive.
    """

    stacked: Callable
    depth: float = eqx.field(static=True)
    pieces: int = eqx.field(static=True)

    def __init__(self, fields: Sequence[Callable], depth: float):
        self.stacked, self.depth, self.pieces = _stacked(fields, depth, "Piecewise", 1), float(depth), len(fields)

    @staticmethod
    def of(make: Callable[[PRNGKeyArray], Callable], pieces: int, depth: float, *, key: PRNGKeyArray) -> "Piecewise":
        """From K = `pieces` fields that `make` draws, each from a key of its own."""
        return Piecewise([make(one) for one in _keys(key, pieces, 1)], depth)

    def __call__(self, t: Float[Array, ""], x: Array, args: Any = None) -> Array:
        return self._piece(t)(t, x, args)

    def between(self, start, end):
        return self._piece(0.5 * (start + end))

    def _piece(self, t: Float[Array, ""]) -> Callable:
        k = jnp.clip(jnp.floor(t * (self.pieces / self.depth)).astype(int), 0, self.pieces - 1)
        return jax.tree.map(lambda leaf: leaf[k] if eqx.is_array(leaf) else leaf, self.stacked)


class Elements(AbstractDepthField):
    """Weights that are linear between K + 1 equidistant nodes of the depth: W(t) = Σ_k W_k h_k(t), with hats h_k.

    `fields` are K + 1 vector fields of one structure, whose weights are those at the nodes. A network has a whole
    number of layers between two nodes. Raises `ValueError` for fewer than two fields, fields that differ in more than
    numbers, and a depth that is not positive.
    """

    stacked: Callable
    depth: float = eqx.field(static=True)
    pieces: int = eqx.field(static=True)

    def __init__(self, fields: Sequence[Callable], depth: float):
        self.stacked, self.depth, self.pieces = _stacked(fields, depth, "Elements", 2), float(depth), len(fields) - 1

    @staticmethod
    def of(make: Callable[[PRNGKeyArray], Callable], nodes: int, depth: float, *, key: PRNGKeyArray) -> "Elements":
        """From K + 1 = `nodes` fields that `make` draws, each from a key of its own."""
        return Elements([make(one) for one in _keys(key, nodes, 2)], depth)

    def __call__(self, t: Float[Array, ""], x: Array, args: Any = None) -> Array:
        place = jnp.clip(t * (self.pieces / self.depth), 0.0, float(self.pieces))
        k = jnp.minimum(jnp.floor(place), self.pieces - 1.0)
        share, k = place - k, k.astype(int)

        def between(leaf):
            if not eqx.is_inexact_array(leaf):
                return leaf[0] if eqx.is_array(leaf) else leaf
            part = share.astype(leaf.dtype)
            return (1.0 - part) * leaf[k] + part * leaf[k + 1]

        return jax.tree.map(between, self.stacked)(t, x, args)

    def between(self, start, end):
        del start, end  # the weights do not jump
        return self


class Generated(eqx.Module):
    """Weights that another network makes of t: F(t, x; W(t)), W(t) = generator(t).

    `template` is a vector field; of its weights only the shapes are kept. `generator` is a module of one scalar t that
    returns as many numbers (n,) as the template has weights, in the order of its leaves. Its own weights are what is
    trained. Raises `ValueError` where it returns anything else.
    """

    shapes: Callable
    generator: Callable

    def __init__(self, template: Callable, generator: Callable):
        self.shapes = jax.tree.map(_shape, template)
        self.generator = generator
        wanted = _size(template)
        made = eqx.filter_eval_shape(generator, jax.ShapeDtypeStruct((), jnp.result_type(float)))
        if getattr(made, "shape", None) != (wanted,):
            raise ValueError(
                f"The generator must make the template's {wanted} weights of a scalar t, an array ({wanted},); it "
                f"makes {made}."
            )

    @staticmethod
    def of(template: Callable, width: int, activation: Callable = jnp.tanh, *, key: PRNGKeyArray) -> "Generated":
        """With a generator of `width` neurons, W(t) = V activation(u t + b) + c, that begins near the template's
        weights: c is these, and the rest is small."""
        one, other = jax.random.split(key)
        flat, _ = ravel_pytree(eqx.filter(template, eqx.is_inexact_array))
        last = Dense(width, flat.size, None, gain=0.1, key=other)
        last = eqx.tree_at(lambda layer: layer.bias, last, flat)
        return Generated(template, _Scalar(Dense(1, width, activation, key=one), last))

    def __call__(self, t: Float[Array, ""], x: Array, args: Any = None) -> Array:
        leaves, structure = jax.tree.flatten(self.shapes, is_leaf=_unfilled)
        flat, filled, place = self.generator(t), [], 0
        for leaf in leaves:
            if _unfilled(leaf):
                filled.append(flat[place : place + leaf.size].reshape(leaf.shape))
                place += leaf.size
            else:
                filled.append(leaf)
        return jax.tree.unflatten(structure, filled)(t, x, args)


class _Scalar(eqx.Module):
    """Two layers of a scalar t."""

    first: Dense
    last: Dense

    def __call__(self, t: Float[Array, ""]) -> Float[Array, " weight"]:
        return self.last(self.first(t[None]))


def _keys(key: PRNGKeyArray, count: int, least: int) -> Array:
    if count < least:
        raise ValueError(f"Weights along the depth need at least {least} of them; received {count}.")
    return jax.random.split(key, count)


def _stacked(fields: Sequence[Callable], depth: float, name: str, least: int) -> Callable:
    """Fields of one structure as one, all arrays with a leading axis."""
    if not depth > 0:
        raise ValueError(f"{name} has a positive depth; received depth={depth}.")
    if len(fields) < least:
        raise ValueError(f"{name} needs at least {least} fields; received {len(fields)}.")
    arrays, fixed = zip(*(eqx.partition(field, eqx.is_array) for field in fields), strict=True)
    signature = lambda tree: (jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)])
    for k, (array, rest) in enumerate(zip(arrays, fixed, strict=True)):
        if signature(array) != signature(arrays[0]) or not bool(eqx.tree_equal(rest, fixed[0])):
            raise ValueError(f"All fields of {name} must differ in numbers only; field {k} is not like field 0.")
    return eqx.combine(jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays), fixed[0])


def _shape(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if eqx.is_inexact_array(leaf) else leaf


def _unfilled(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)))
