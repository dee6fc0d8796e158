"""`Unknown` stands in a model where a value is not known; `Estimable` is a model opened along its unknowns."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray


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
    if not any(map(_is_unknown, jax.tree.leaves(opened, is_leaf=_is_unknown))):
        raise ValueError(f"There are no arrays of floats in the {type(module).__name__} to be learned.")
    return opened


def as_parameter(value: ArrayLike | Unknown) -> Array | Unknown:
    """A model field's converter: numbers become arrays of the default float type, an `Unknown` stays."""
    if isinstance(value, Unknown):
        return value
    return jnp.asarray(value, jnp.result_type(float))


def _is_unknown(x: Any) -> bool:
    return isinstance(x, Unknown)


def _column(unknowns: list[Unknown], get: Callable[[Unknown], np.ndarray]) -> np.ndarray:
    parts = [np.broadcast_to(get(u), u.lower.shape).ravel() for u in unknowns]
    return np.concatenate(parts) if parts else np.zeros(0)


class Estimable(eqx.Module):
    """A model and its args, opened along their unknowns.

    Called as `estimable(t, state, parameters)`. The state (D,) is the model's own followed by the unknowns
    that vary, which do not move by themselves; `parameters` (P,) are the unknowns that do not vary, in the
    order in which they stand in the model.
    """

    template: Any
    dimension: int = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)
    varying_names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, model: Callable, args: Any = None, *, dimension: int | None = None):
        own = getattr(model, "dimension", dimension)
        if own is None:
            raise ValueError(
                "The state's dimension is not known: give the model an attribute `dimension`, or pass "
                "`dimension=` beside it."
            )
        if dimension is not None and dimension != own:
            raise ValueError(f"The model has dimension {own}; received dimension={dimension}.")
        self.template, self.dimension = (model, args), operator.index(own)
        found, _ = jax.tree_util.tree_flatten_with_path(self.template, is_leaf=_is_unknown)
        named = [(_name(path), leaf) for path, leaf in found if _is_unknown(leaf)]
        self.names = _spread(named, varying=False)
        self.varying_names = _spread(named, varying=True)

    def unknowns(self, *, varying: bool) -> list[Unknown]:
        """The unknowns that vary, or those that do not, in the order in which they stand in the model."""
        leaves = jax.tree.leaves(self.template, is_leaf=_is_unknown)
        return [x for x in leaves if _is_unknown(x) and bool(x.varies) == varying]

    @property
    def size(self) -> int:
        """State dimension with the varying unknowns."""
        return self.dimension + len(self.varying_names)

    def bounds(self, *, varying: bool) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of the unknowns, one number each."""
        unknowns = self.unknowns(varying=varying)
        return _column(unknowns, lambda u: u.lower), _column(unknowns, lambda u: u.upper)

    def volatility(self, duration: float) -> np.ndarray:
        """Volatility of each varying unknown, parameter units per √time, for a window of that duration."""

        def one(u):
            return (u.upper - u.lower) / np.sqrt(duration) if u.varies is True else np.asarray(float(u.varies))

        return _column(self.unknowns(varying=True), one)

    def prior(self, *, varying: bool) -> tuple[np.ndarray, np.ndarray]:
        """Mean and precision of the Gaussian priors; precision 0 where there is none."""
        unknowns = self.unknowns(varying=varying)
        mean = _column(unknowns, lambda u: u.prior.mean if u.prior else np.zeros(()))
        precision = _column(unknowns, lambda u: u.prior.deviation**-2.0 if u.prior else np.zeros(()))
        return mean, precision

    def draw(self, key: PRNGKeyArray, *, varying: bool) -> Array:
        """Starting values: uniform on the range where it is finite, else from the prior, in the bounds."""
        (lower, upper), (mean, precision) = self.bounds(varying=varying), self.prior(varying=varying)
        names = self.varying_names if varying else self.names
        finite = np.isfinite(upper - lower)
        for name, ranged, weight in zip(names, finite, precision, strict=True):
            if not ranged and weight == 0:
                raise ValueError(
                    f"The unknown {name} has neither a finite range nor a prior to draw starting values from; "
                    "give it lower and upper, or prior=Normal(mean, deviation)."
                )
        dtype = jnp.result_type(float)
        uniform = jax.random.uniform(key, finite.shape, dtype)
        normal = jax.random.normal(key, finite.shape, dtype)
        low, span = np.where(finite, lower, 0.0), np.where(finite, upper - lower, 0.0)
        spread = np.where(precision > 0, precision, 1.0) ** -0.5
        start = jnp.where(finite, low + span * uniform, mean + spread * normal)
        return jnp.clip(start, lower, upper).astype(dtype)

    def fill(self, parameters: Float[Array, " parameter"], varying: Float[Array, " varying"]) -> tuple[Callable, Any]:
        """The model and its args with numbers in place of the unknowns."""
        leaves, structure = jax.tree.flatten(self.template, is_leaf=_is_unknown)
        filled, taken = [], {False: 0, True: 0}
        for leaf in leaves:
            if _is_unknown(leaf):
                varies = bool(leaf.varies)
                start, source = taken[varies], varying if varies else parameters
                taken[varies] = start + leaf.size
                leaf = source[start : start + leaf.size].reshape(leaf.lower.shape)
            filled.append(leaf)
        return jax.tree.unflatten(structure, filled)

    def __call__(
        self,
        t: Float[Array, ""],
        state: Float[Array, " state"],
        parameters: Float[Array, " parameter"],
    ) -> Float[Array, " state"]:
        model, args = self.fill(parameters, state[self.dimension :])
        rate = model(t, state[: self.dimension], args)
        if not self.varying_names:
            return rate
        return jnp.concatenate([rate, jnp.zeros_like(state[self.dimension :])])


def _name(path: tuple) -> str:
    """`forcing` for model.forcing, `rates.leak` for args["rates"]["leak"]."""
    words = [getattr(k, "name", getattr(k, "key", getattr(k, "idx", k))) for k in path[1:]]
    return ".".join(str(word) for word in words) or "args"


def _spread(named: list[tuple[str, Unknown]], *, varying: bool) -> tuple[str, ...]:
    names = []
    for name, unknown in named:
        if bool(unknown.varies) == varying:
            shape = unknown.lower.shape
            names += [name if not shape else f"{name}[{','.join(map(str, i))}]" for i in np.ndindex(shape)]
    return tuple(names)
