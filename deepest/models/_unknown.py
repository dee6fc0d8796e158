"""`Unknown` stands in a model where a value is not known."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike


class Normal(eqx.Module):
    """A Gaussian prior −log p = ½ ((θ − mean)/deviation)² for an `Unknown`, in the parameter's units.

    `mean` and `deviation` are scalars or have the unknown's shape.

    Raises `ValueError` unless `deviation` is positive.
    """

    mean: np.ndarray = eqx.field(converter=np.asarray)
    deviation: np.ndarray = eqx.field(converter=np.asarray)

    def __check_init__(self):
        if not np.all(np.isfinite(self.mean)):
            raise ValueError(f"A prior's mean must be finite; received {self.mean}.")
        if not np.all((self.deviation > 0) & np.isfinite(self.deviation)):
            raise ValueError(f"A prior's deviation must be positive and finite; received {self.deviation}.")


class Unknown(eqx.Module):
    """A value to be estimated: lower ≤ θ ≤ upper, in the parameter's own units.

    It stands in a model, or in a plain function's `args`, wherever a number would. Arrays for `lower` and
    `upper` make a parameter of that shape. `prior` adds a `Normal` term to the action; without one the prior
    is flat on the range. `varies` gives the parameter a path of its own, a random walk of increments
    N(0, volatility² δt): a number is the volatility in parameter units per √time, `True` one that lets it
    cross its range once in the whole window. (The walk is exact at the nodes; interior points of an interval are
    held to their neighbours' mean with the same precision.)

    Raises `ValueError` where lower > upper or a bound is NaN.
    """

    lower: np.ndarray
    upper: np.ndarray
    prior: Normal | None
    varies: bool | float

    def __init__(
        self,
        lower: ArrayLike | Sequence = -np.inf,
        upper: ArrayLike | Sequence = np.inf,
        *,
        prior: Normal | None = None,
        varies: bool | float = False,
    ):
        self.lower, self.upper = (
            np.array(x) for x in np.broadcast_arrays(np.asarray(lower, float), np.asarray(upper, float))
        )
        self.prior, self.varies = prior, varies
        if not np.all(self.lower <= self.upper):
            raise ValueError(f"An Unknown needs lower ≤ upper; received lower {lower} and upper {upper}.")
        if not np.all(self.lower < np.inf) or not np.all(self.upper > -np.inf):
            raise ValueError(f"An Unknown needs room between its bounds; received lower {lower} and upper {upper}.")
        if prior is not None and np.broadcast_shapes(prior.mean.shape, prior.deviation.shape) not in (
            (),
            self.lower.shape,
        ):
            raise ValueError(
                f"The prior of an Unknown of shape {self.lower.shape} must be scalar or of that shape; received mean "
                f"{prior.mean.shape} and deviation {prior.deviation.shape}."
            )
        if np.ndim(varies) != 0:
            raise ValueError(f"varies is True or one volatility; received an array of shape {np.shape(varies)}.")
        if not isinstance(varies, bool) and not varies > 0:
            raise ValueError(f"An Unknown's volatility must be positive; received varies={varies}.")
        if varies is True and not np.all(np.isfinite(self.upper - self.lower)):
            raise ValueError(
                "An Unknown that varies needs a finite range, or its volatility as a number: "
                f"received lower {lower}, upper {upper} and varies=True."
            )

    @property
    def size(self) -> int:
        """How many scalars it stands for."""
        return self.lower.size


def unknown_weights(module: Any, deviation: ArrayLike = 1.0) -> Any:
    """A network to be learned inside a model: the module with an `Unknown` for every array of floats in it.

    Each weight has the prior N(0, deviation²), with one scalar `deviation` in the weights' units, from which starting
    values are drawn as well. `Estimate.model` is the model with the module's weights in place.
    Raises `ValueError` where the module has no such array.
    """
    prior = Normal(0.0, deviation)

    def one(leaf):
        if not eqx.is_inexact_array(leaf):
            return leaf
        anywhere = np.full(leaf.shape, np.inf)
        return Unknown(-anywhere, anywhere, prior=prior)

    opened = jax.tree.map(one, module)
    if not any(map(is_unknown, jax.tree.leaves(opened, is_leaf=is_unknown))):
        raise ValueError(f"There are no arrays of floats in the {type(module).__name__} to be learned.")
    return opened


def as_parameter(value: ArrayLike | Unknown) -> Array | Unknown:
    """A model field's converter: numbers become arrays of the default float type, an `Unknown` stays."""
    if isinstance(value, Unknown):
        return value
    return jnp.asarray(value, jnp.result_type(float))


def is_unknown(x: Any) -> bool:
    """Whether a leaf of a model is an `Unknown`."""
    return isinstance(x, Unknown)
