"""What the data say of the parameters."""

import dataclasses
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from deepest._program import program
from deepest.action import Action
from deepest.linalg import BlockVector
from deepest.minimise import precision

# A parameter whose deviation is more than this part of what it was before the data is hardly known from them.
_LOOSE = 0.5
# To which part of its diagonal a curvature that was solved for is symmetric, in float32 too.
_SYMMETRIC = 1e-3


@dataclasses.dataclass(frozen=True)
class Identifiability:
    """How well the estimated parameters are known, from the curvature of the action along them at the lowest minimum.

        S = C − Bᵀ H⁻¹ B,   posterior covariance Σ = (S + E)⁻¹

    S is the Gauss–Newton Hessian with the path eliminated, at the last rung's R_f (Laplace's approximation, R_m = 1/σ²
    being meant). E stands for what is known without data where there is no prior: a range of width w is counted as a
    Gaussian of its own deviation w/√12. All parameters in their own units:

    - `names` and `estimates` (P,); `deviations` (P,): square roots of Σ's diagonal; `covariance` Σ (P, P).
    - `before` (P,): the deviation without data, of the range or the prior; infinite where there is neither.
    - `at_bound` (P,): estimates at a bound of their range, which are taken as they are: their deviation is 0.
    """

    names: tuple[str, ...]
    estimates: Float[np.ndarray, " parameter"]
    deviations: Float[np.ndarray, " parameter"]
    covariance: Float[np.ndarray, "parameter parameter"]
    before: Float[np.ndarray, " parameter"]
    at_bound: Bool[np.ndarray, " parameter"]

    @property
    def scales(self) -> Float[np.ndarray, " parameter"]:
        """What deviations are compared with: those without data; where there was none, the estimate's size; and where
        that is 0, themselves."""
        return _units(self.before, self.estimates, self.deviations)

    @property
    def shares(self) -> Float[np.ndarray, " parameter"]:
        """The deviations in units of `scales`: 1 where the data say nothing."""
        return np.divide(self.deviations, self.scales, out=np.zeros_like(self.scales), where=self.scales > 0.0)

    @property
    def loose(self) -> tuple[str, ...]:
        """The parameters that are hardly known from the data: a share of more than a half."""
        return tuple(name for name, share in zip(self.names, self.shares, strict=True) if not share <= _LOOSE)

    @cached_property
    def directions(self) -> tuple[Float[np.ndarray, " direction"], Float[np.ndarray, "direction parameter"]]:
        """Independent combinations of the parameters, sloppiest first: their deviations (Q,), and unit vectors (Q, P)
        along them, both in units of `scales`. Estimates at a bound take no part."""
        free = ~self.at_bound
        scaled = (self.covariance / np.outer(self.scales, self.scales))[np.ix_(free, free)]
        squares, vectors = np.linalg.eigh(scaled)
        spread = np.zeros((squares.size, free.size))
        spread[:, free] = vectors.T
        signs = np.sign(spread[np.arange(squares.size), np.abs(spread).argmax(axis=1)])
        return np.sqrt(np.maximum(squares, 0.0))[::-1], (spread * signs[:, None])[::-1]

    def __str__(self) -> str:
        lines = [f"{name} = {self._said(k)}" for k, name in enumerate(self.names)]
        if self.loose:
            lines.append(f"Hardly known from these data: {', '.join(self.loose)}.")
        return "\n".join(lines)

    def _said(self, k: int) -> str:
        known = f"{self.estimates[k]:.5g} ± {self.deviations[k]:.2g}"
        if self.at_bound[k]:
            return f"{known}, at its bound"
        if np.isfinite(self.before[k]):
            return f"{known} ({self.shares[k]:.0%} of what it was without data)"
        return f"{known} ({self.shares[k]:.0%} of its size)" if self.estimates[k] else known


@program
def _precision(action: Action, ratio, z: BlockVector, saddle: bool):
    return precision(action.at(ratio), z, saddle=saddle)


def identified(
    action: Action,
    ratio: float,
    path: Float[np.ndarray, "time state"],
    parameters: Float[np.ndarray, " parameter"],
) -> Identifiability:
    """What the action's curvature at one R_f/R_m says at a minimum: its path (N, D) and parameters (P,)."""
    z = action.pack(jnp.asarray(path), jnp.asarray(parameters))
    at, found = z.nodes.dtype.type(ratio), np.full((parameters.size, parameters.size), np.nan)
    # Exact at every R_f; but where bounds hold much of a path, some directions may be held by nothing, and only the
    # normal equations, which add a little, can tell the others. What is not symmetric then is not solved.
    for saddle in (True, False):
        if not _told(found):
            found = np.asarray(_precision(action, at, z, saddle), float)
    if not _told(found):
        found = np.zeros_like(found)  # nothing is known where the curvature cannot be told
    lower, upper = (np.asarray(bound, float) for bound in action.limits[1])
    _, prior = action.estimable.prior(varying=False)
    flat = (prior == 0.0) & np.isfinite(upper - lower)
    before = np.where(prior > 0.0, np.maximum(prior, np.finfo(float).tiny) ** -0.5, (upper - lower) / np.sqrt(12.0))
    at_bound = (parameters <= lower) | (parameters >= upper)
    covariance = np.zeros_like(found)
    free = np.flatnonzero(~at_bound)
    if free.size:
        # In units of what was known before, so that nothing depends on the parameters' units.
        alone = np.maximum(np.diag(found), np.finfo(float).tiny) ** -0.5
        unit = _units(before, parameters, alone)[free]
        scaled = found[np.ix_(free, free)] * np.outer(unit, unit) + np.diag(flat[free].astype(float))
        covariance[np.ix_(free, free)] = _inverse(scaled) * np.outer(unit, unit)
    return Identifiability(
        names=action.estimable.names,
        estimates=np.asarray(parameters, float),
        deviations=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        before=before,
        at_bound=at_bound,
    )


def _told(curvature: np.ndarray) -> bool:
    """Whether a curvature (P, P) is finite, and symmetric as it must be."""
    if not np.all(np.isfinite(curvature)):
        return False
    size = np.sqrt(np.abs(np.diag(curvature)))
    return bool(np.all(np.abs(curvature - curvature.T) <= _SYMMETRIC * np.outer(size, size)))


def _units(before: np.ndarray, estimates: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    sizes = np.where(estimates != 0.0, np.abs(estimates), otherwise)
    return np.where(np.isfinite(before), before, sizes)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a symmetric matrix that should be positive: rounding below zero counts as hardly above it."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return (vectors / np.maximum(values, np.finfo(float).eps * np.max(np.abs(values)))) @ vectors.T
