"""Networks: chains of layer maps."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from deepest.networks._layers import AbstractLayer, Dense, Residual
from deepest.networks._run import Run


class AbstractNetwork(eqx.Module):
    """A map of one input, of any shape (N,), (T, N), (C, H, W), through layers, each of which may err."""

    @abc.abstractmethod
    def runs(self, shape: tuple[int, ...], dtype: Any) -> tuple[Run, ...]:
        """The layers for inputs (…) of this shape, those of one structure side by side.

        Raises `ValueError` in one sentence where they do not fit each other."""

    @abc.abstractmethod
    def trained(self, runs: tuple[Run, ...]) -> "AbstractNetwork":
        """The network with the weights of these runs."""

    @abc.abstractmethod
    def __call__(self, x: Array) -> Array:
        """The output (…) for one input (…), without model error: the forward pass."""


class LayerMap(AbstractNetwork):
    """x(l + 1) = f_l(x(l)) + e(l + 1), each f_l a module of one array, with weights of its own.

    `layers` are Equinox modules or functions: `Dense`, `Residual`, `Recurrent`, `equinox.nn.Conv2d`, your own. Widths
    may differ. What has no weights (an activation, a reshaping) makes no model error: it belongs to the layer before
    it, or to the one after if there is none. Raises `ValueError` for no layers at all.
    """

    layers: list[Callable]

    def __init__(self, layers: Sequence[Callable]):
        self.layers = list(layers)
        if not any(map(_weighs, self.layers)):
            raise ValueError(f"A LayerMap has at least one layer with weights; received {len(self.layers)} without.")

    def runs(self, shape, dtype):
        groups, place = [], jax.ShapeDtypeStruct(shape, dtype)
        for number, layer in enumerate(_fused(self.layers), 1):
            after = through(number, layer, place)
            same = groups and after.shape == place.shape and _alike(groups[-1][0][-1], layer) and groups[-1][1]
            if same:
                groups[-1][0].append(layer)
            else:
                groups.append(([layer], after.shape == place.shape, after.shape))
            place = after
        return tuple(Run.of(layers, shape) for layers, _, shape in groups)

    def trained(self, runs):
        flat = [part for run in runs for layer in run.layers for part in parts(layer)]
        return LayerMap(flat)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Chain(eqx.Module):
    """Modules one after the other, as one layer."""

    parts: list[Callable]

    def __call__(self, x: Array) -> Any:  # `through` checks what comes out
        for part in self.parts:
            x = part(x)
        return x


def _weighs(layer) -> bool:
    return any(map(eqx.is_inexact_array, jax.tree.leaves(layer)))


def parts(layer) -> list:
    """What a layer was made of."""
    return layer.parts if isinstance(layer, Chain) else [layer]


def _fused(layers: list) -> list:
    """Layers with weights, and what has none with the one before it, or at the beginning with the one after."""
    fused: list[list] = []
    for layer in layers:
        closed = fused and isinstance(fused[-1][0], AbstractLayer)
        open_before = fused and not any(map(_weighs, fused[-1]))
        if fused and not closed and not isinstance(layer, AbstractLayer) and (open_before or not _weighs(layer)):
            fused[-1].append(layer)
        else:
            fused.append([layer])
    return [group[0] if len(group) == 1 else Chain(group) for group in fused]


def through(number: int, layer, place: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The shape that a layer makes of a shape, or a `ValueError` in one sentence."""
    name = " and ".join(getattr(part, "__name__", type(part).__name__) for part in parts(layer))
    try:
        after = eqx.filter_eval_shape(layer, place)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"Layer {number} ({name}) does not take what comes before it, an array of shape {place.shape}: {reason}"
        ) from error
    if not isinstance(after, jax.ShapeDtypeStruct):
        raise ValueError(f"Layer {number} ({name}) must return one array; it returns {type(after).__name__}.")
    if after.dtype != place.dtype:
        raise ValueError(
            f"Layer {number} ({name}) makes {after.dtype} of {place.dtype}; all layers must keep the inputs' dtype."
        )
    return after


def _alike(one, other) -> bool:
    """Whether two layers differ in the numbers of their arrays only."""
    (a, fixed_a), (b, fixed_b) = (eqx.partition(layer, eqx.is_array) for layer in (one, other))
    signature = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
    same = jax.tree.structure(a) == jax.tree.structure(b) and signature(a) == signature(b)
    return same and bool(eqx.tree_equal(fixed_a, fixed_b))


def perceptron(
    widths: Sequence[int],
    activation: Callable = jnp.tanh,
    *,
    residual: float | None = None,
    last: Callable | None = None,
    bias: bool = True,
    gain: float = 1.0,
    key: PRNGKeyArray,
) -> LayerMap:
    """A multilayer perceptron of `Dense` layers between `widths` N_0, N_1, …, N_F, which are numbers of neurons.

    `activation` stands after all but the last, which has `last`. With `residual` a layer that keeps its width is
    x + residual · activation(W x + b), except the last. `gain` is `Dense`'s. Raises `ValueError` for fewer than two
    widths, or one below 1.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"A perceptron has at least two widths of at least 1; received {list(widths)}.")
    layers, count = [], len(widths) - 1
    for n, one in enumerate(jax.random.split(key, count)):
        inputs, outputs = widths[n : n + 2]
        layer = Dense(inputs, outputs, activation if n < count - 1 else last, bias=bias, gain=gain, key=one)
        keeps = n < count - 1 and inputs == outputs
        layers.append(layer if residual is None or not keeps else Residual(layer, residual))
    return LayerMap(layers)
