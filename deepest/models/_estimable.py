"""A model opened along its unknowns."""

import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from deepest.models._stimulus import Stimulus
from deepest.models._unknown import Unknown, is_unknown


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
        found, _ = jax.tree_util.tree_flatten_with_path(self.template, is_leaf=is_unknown)
        named = [(_name(path), leaf) for path, leaf in found if is_unknown(leaf)]
        self.names = _spread(named, varying=False)
        self.varying_names = _spread(named, varying=True)

    def unknowns(self, *, varying: bool) -> list[Unknown]:
        """The unknowns that vary, or those that do not, in the order in which they stand in the model."""
        leaves = jax.tree.leaves(self.template, is_leaf=is_unknown)
        return [x for x in leaves if is_unknown(x) and bool(x.varies) == varying]

    @property
    def size(self) -> int:
        """State dimension with the varying unknowns."""
        return self.dimension + len(self.varying_names)

    @property
    def jumps(self) -> np.ndarray:
        """Times (J,) at which a `Stimulus` in steps jumps that stands in the model or its args."""
        driven = jax.tree.leaves(self.template, is_leaf=lambda x: isinstance(x, (Unknown, Stimulus)))
        return np.unique(np.concatenate([np.zeros(0), *(x.jumps for x in driven if isinstance(x, Stimulus))]))

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
        leaves, structure = jax.tree.flatten(self.template, is_leaf=is_unknown)
        filled, taken = [], {False: 0, True: 0}
        for leaf in leaves:
            if is_unknown(leaf):
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


def _column(unknowns: list[Unknown], get: Callable[[Unknown], np.ndarray]) -> np.ndarray:
    parts = [np.broadcast_to(get(u), u.lower.shape).ravel() for u in unknowns]
    return np.concatenate(parts) if parts else np.zeros(0)
