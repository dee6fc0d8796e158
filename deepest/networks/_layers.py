"""Layers: any module of one array, and those whose model error lies inside them."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray


class AbstractLayer(eqx.Module):
    """A layer map x → f(x) whose model error does not simply add to what it gives.

    Of any other module or function f the state after it is y = f(x) + e, with the error e of y's shape.
    """

    @abc.abstractmethod
    def __call__(self, x: Array) -> Array:
        """f(x), without error."""

    @abc.abstractmethod
    def forced(self, x: Array, errors: Array) -> Array:
        """y with these errors."""

    @abc.abstractmethod
    def errors(self, x: Array, y: Array) -> Array:
        """The errors with which x becomes y: the inverse of `forced`."""


class Dense(eqx.Module):
    """f(x) = activation(W x + b), with x (N_in,), W (N_out, N_in) drawn from gain · N(0, 1/N_in), and b zero or None.

    `activation` is `jnp.tanh`, `jax.nn.sigmoid` or any function; None leaves it out.
    """

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"] | None
    activation: Callable | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: Callable | None = jnp.tanh,
        *,
        bias: bool = True,
        gain: float = 1.0,
        key: PRNGKeyArray,
    ):
        self.weight = gain / np.sqrt(inputs) * jax.random.normal(key, (outputs, inputs))
        self.bias = jnp.zeros(outputs) if bias else None
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        y = self.weight @ x
        y = y if self.bias is None else y + self.bias
        return y if self.activation is None else self.activation(y)


class Residual(eqx.Module):
    """f(x) = x + scale · inside(x), with x of any one shape (N,) that `inside` keeps; `scale` is a fixed number."""

    inside: Callable
    scale: float = eqx.field(static=True, default=1.0)

    def __call__(self, x: Array) -> Array:
        return x + self.scale * self.inside(x)


class Elman(eqx.Module):
    """A recurrent cell h' = activation(W x + w h + b), with x (N_in,) and h (N,)."""

    inward: Dense
    across: Float[Array, "state state"]
    activation: Callable

    def __init__(
        self,
        inputs: int,
        size: int,
        activation: Callable = jnp.tanh,
        *,
        bias: bool = True,
        gain: float = 1.0,
        key: PRNGKeyArray,
    ):
        one, other = jax.random.split(key)
        self.inward = Dense(inputs, size, None, bias=bias, gain=gain, key=one)
        self.across = gain / np.sqrt(size) * jax.random.normal(other, (size, size))
        self.activation = activation

    def __call__(self, x: Float[Array, " in"], h: Float[Array, " state"]) -> Float[Array, " state"]:
        return self.activation(self.inward(x) + self.across @ h)


class Recurrent(AbstractLayer):
    """A layer with a label τ of its own: x (T, N_in) becomes y (T, N), its weights the same at every τ,

        y(τ) = cell(x(τ), y(τ − 1)) + e(τ),   y(−1) = 0.

    The action sums the errors over both labels. `cell(x, h)` is `Elman`, `equinox.nn.GRUCell` or the like; `size` is N.
    Of several such layers y(l, τ) depends on x(l − 1, τ) and on y(l, τ − 1), as in the paper's recurrent networks.
    Source: [abarbanel2018].
    """

    cell: Callable[..., Any]
    size: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "tau in"]) -> Float[Array, "tau state"]:
        return self.forced(x, jnp.zeros((x.shape[0], self.size), x.dtype))

    def forced(self, x: Float[Array, "tau in"], errors: Float[Array, "tau state"]) -> Float[Array, "tau state"]:
        """y with these errors."""

        def one(h, given):
            x, e = given
            y = self.cell(x, h) + e
            return y, y

        return lax.scan(one, jnp.zeros(self.size, x.dtype), (x, errors))[1]

    def errors(self, x: Float[Array, "tau in"], y: Float[Array, "tau state"]) -> Float[Array, "tau state"]:
        """The errors with which x becomes y."""
        before = jnp.concatenate([jnp.zeros_like(y[:1]), y[:-1]])
        return y - jax.vmap(self.cell)(x, before)


def forced(layer: Callable, x: Array, errors: Array) -> Array:
    """The state after a layer with errors."""
    return layer.forced(x, errors) if isinstance(layer, AbstractLayer) else layer(x) + errors


def defects(layer: Callable, x: Array, y: Array) -> Array:
    """The errors of a layer between two states."""
    return layer.errors(x, y) if isinstance(layer, AbstractLayer) else y - layer(x)
