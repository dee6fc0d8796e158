"""The Lagrangian of the action: model error and measurements."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from deepest.mechanics._lagrangian import AbstractLagrangian
from deepest.paths import Observations


class ModelError(AbstractLagrangian):
    """𝓛(t, x, v) = ½ (v − F)ᵀ R_f (v − F) + C(t, x): the action's density along a path.

        p = R_f (v − F),   H = ½ pᵀ R_f⁻¹ p + p · F − C,
        dx/dt = F + R_f⁻¹ p,   dp/dt = −DFᵀ p + ∂C/∂x

    - `field` F(t, x, args) → (D,), as for diffrax; `args` is handed on to it.
    - `precision` R_f: a scalar, (D,) or (D, D), per unit of time: ∫ 𝓛 dt is the action in the convention "continuum".
    - `running` C(t, x, args) → scalar: what measurements cost along the way, as `Tracking` does; none where not given.

    Raises `ValueError` unless R_f is symmetric and positive definite: a component without model error has no momentum.
    Source: [abarbanel2018].
    """

    field: Callable
    precision: Float[Array, "*shape"]
    running: Callable | None

    def __init__(self, field: Callable, precision: ArrayLike, running: Callable | None = None):
        self.field, self.running = field, running
        given = np.asarray(precision, float)
        if given.ndim > 2 or (given.ndim == 2 and given.shape[0] != given.shape[1]):
            raise ValueError(f"R_f must be a scalar, (D,) or (D, D); received shape {given.shape}.")
        matrix = given if given.ndim == 2 else np.diag(np.atleast_1d(given))
        if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=0.0) or not np.all(np.linalg.eigvalsh(matrix) > 0):
            raise ValueError(
                "R_f must be symmetric and positive definite: a component without model error has no momentum."
            )
        self.precision = jnp.asarray(given, jnp.result_type(float))

    def __call__(self, t, x, v, args=None):
        gap = v - self.field(t, x, args)
        cost = 0.5 * jnp.vdot(gap, self._weigh(gap))
        return cost if self.running is None else cost + self.running(t, x, args)

    def velocity(self, t, x, p, args=None):
        drift = self.field(t, x, args)
        if self.precision.ndim < 2:
            return drift + p / self.precision
        return drift + jnp.linalg.solve(self.precision, p)

    def _weigh(self, gap):
        return self.precision @ gap if self.precision.ndim == 2 else self.precision * gap


class Tracking(eqx.Module):
    """The running cost C(t, x) = ½ (h(x) − y(t))ᵀ R(t) (h(x) − y(t)) of measurements, a scalar.

    y(t) and R(t) are linear between measurements; R is R_m over the spacing of the times, such that ∫ C dt is the
    trapezoid rule's version of the action's sum ½ Σ_k (h(x(t_k)) − y_k)ᵀ R_m (…). Outside the times both keep their
    ends. Where a value is missing y is bridged and R is zero at that time.
    """

    observations: Observations
    values: Float[np.ndarray, "observation measured"]
    density: Float[np.ndarray, "observation *measured"]

    def __init__(self, observations: Observations):
        self.observations, times = observations, observations.times
        self.values = np.stack(
            [
                np.interp(times, times[here], y[here]) if here.any() else y
                for y, here in zip(observations.values.T, observations.present.T, strict=True)
            ],
            axis=1,
        )
        half = 0.5 * np.diff(times)
        spacing = np.concatenate([half, [0.0]]) + np.concatenate([[0.0], half])
        self.density = observations.weight / spacing.reshape(-1, *[1] * (observations.weight.ndim - 1))

    def __call__(self, t, x, args=None):
        del args
        gap = self.observations.measure(x) - self._between(self.values, t)
        density = self._between(self.density, t)
        return 0.5 * jnp.vdot(gap, density @ gap if density.ndim == 2 else density * gap)

    def _between(self, nodes: Array | np.ndarray, t) -> Array:
        """Linear in time between the nodes."""
        times, at = (jnp.asarray(a, jnp.result_type(float)) for a in (self.observations.times, nodes))
        k = jnp.clip(jnp.searchsorted(times, t, side="right") - 1, 0, times.size - 2)
        s = jnp.clip((t - times[k]) / (times[k + 1] - times[k]), 0.0, 1.0)
        return (1.0 - s) * at[k] + s * at[k + 1]
