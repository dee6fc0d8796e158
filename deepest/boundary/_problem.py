"""What is solved between the ends: a first-order system, or the equations of a Lagrangian."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepest.mechanics import Lagrangian, Legendre, ModelError, momentum
from deepest.models import Estimable


class AbstractProblem(eqx.Module):
    """dy/dt = f(t, y, q) with y (M,) and unknown parameters q (P,)."""

    @abc.abstractmethod
    def rates(
        self, t: Float[Array, ""], y: Float[Array, " state"], q: Float[Array, " parameter"]
    ) -> Float[Array, " state"]:
        """dy/dt."""

    @abc.abstractmethod
    def start(
        self,
        times: Float[Array, " node"],
        path: Float[Array, "node state"],
        momenta: Float[Array, "node state"] | None,
        parameters: Float[Array, " parameter"],
    ) -> Float[Array, "node unknown"]:
        """y (N, M) at the nodes from a guessed path, or `ValueError` where it does not fit."""

    @abc.abstractmethod
    def softened(self, ratio: Float[Array, ""]) -> "AbstractProblem":
        """The same problem with its model precision R_f times `ratio`."""

    @abc.abstractmethod
    def within(self, parameters: Float[Array, " parameter"]) -> Array:
        """Whether the parameters are in their bounds."""


class System(AbstractProblem):
    """Any first-order system dy/dt = field(t, y, q), with y (M,) and unknown parameters q (P,), none if P = 0.

    As scipy's `solve_bvp` takes it, for one time: `field` is written for a single t, takes q even if there is none,
    returns one array (M,), and may close over whatever is to be differentiated by:

        System(lambda t, y, q: jnp.stack([y[1], -jnp.exp(y[0])]))
    """

    field: Callable

    def rates(self, t, y, q):
        return self.field(t, y, q)

    def start(self, times, path, momenta, parameters):
        if momenta is not None:
            raise ValueError("A System has no momenta; its path holds all of y.")
        return path

    def softened(self, ratio):
        raise ValueError("Only a Variational problem with a ModelError Lagrangian has an R_f to anneal.")

    def within(self, parameters):
        return jnp.asarray(True)


class Variational(AbstractProblem):
    """The paths that make ∫ 𝓛(t, x, dx/dt) dt stationary, in Hamilton's form: y = (x, p), or (x, p, s).

        dx/dt = ∂H/∂p,   dp/dt = −∂H/∂x,   ds/dt = ∂𝓛/∂θ = −∂H/∂θ

    - `lagrangian`: 𝓛(t, x, v, args), as `mechanics` has them; `dimension` D of x.
    - Where `Unknown`s stand in the Lagrangian or in `args`, the action is stationary in them too: s, which begins at
      zero, sums ∂𝓛/∂θ and must end at minus the slope of their priors. P of them make y (2D + P,).

    Raises `ValueError` for unknowns that vary in time: those are states.
    """

    estimable: Estimable
    bounds: Float[Array, "2 parameter"]
    prior: Float[Array, "2 parameter"]

    def __init__(self, lagrangian: Lagrangian, *, dimension: int, args: Any = None):
        self.estimable = Estimable(lagrangian, args, dimension=dimension)
        known = self.estimable.bounds(varying=False), self.estimable.prior(varying=False)
        self.bounds, self.prior = (jnp.asarray(np.stack(pair), jnp.result_type(float)) for pair in known)
        if self.estimable.varying_names:
            moving = self.estimable.varying_names[0]
            raise ValueError(f"An Unknown that varies is a state: give {moving} an equation and a place in x.")

    @property
    def dimension(self) -> int:
        """D, of x."""
        return self.estimable.dimension

    def rates(self, t, y, q):
        x, p, _ = self.split(y)

        def hamiltonian(x, p, q):
            lagrangian, args = self.estimable.fill(q, q[:0])
            return Legendre(lagrangian)(t, x, p, args)

        along_x, along_p, along_q = jax.grad(hamiltonian, argnums=(0, 1, 2))(x, p, q)
        return jnp.concatenate([along_p, -along_x, -along_q])

    def split(self, y: Float[Array, "*any unknown"]) -> tuple[Array, Array, Array]:
        """x, p and s of y."""
        size = self.dimension
        return y[..., :size], y[..., size : 2 * size], y[..., 2 * size :]

    def start(self, times, path, momenta, parameters):
        count, size = len(self.estimable.names), self.dimension
        if parameters.shape != (count,):
            raise ValueError(
                f"The guess must give the {count} unknown parameters {self.estimable.names}; received shape "
                f"{parameters.shape}."
            )
        if path.shape[1] != size:
            raise ValueError(f"The guessed path must have shape ({times.size}, {size}); received {path.shape}.")
        if momenta is None:
            lagrangian, args = self.estimable.fill(parameters, parameters[:0])
            rise = jnp.diff(path, axis=0) / jnp.diff(times)[:, None]
            velocity = 0.5 * (jnp.concatenate([rise[:1], rise]) + jnp.concatenate([rise, rise[-1:]]))
            momenta = jax.vmap(lambda t, x, v: momentum(lagrangian, t, x, v, args))(times, path, velocity)
        if momenta.shape != path.shape:
            raise ValueError(f"The guessed momenta must have shape {path.shape}; received {momenta.shape}.")
        return jnp.concatenate([path, momenta, jnp.zeros((times.size, count), path.dtype)], axis=1)

    def softened(self, ratio):
        lagrangian = self.estimable.template[0]
        if not isinstance(lagrangian, ModelError):
            raise ValueError("Only a Variational problem with a ModelError Lagrangian has an R_f to anneal.")
        where = lambda problem: problem.estimable.template[0].precision
        return eqx.tree_at(where, self, ratio * lagrangian.precision)

    def within(self, parameters):
        lower, upper = self.bounds
        return jnp.all((parameters >= lower) & (parameters <= upper))

    def transversal(self, y: Float[Array, " unknown"], q: Float[Array, " parameter"]) -> Float[Array, " parameter"]:
        """At the far end, the slope of the action along the unknown parameters: zero where it is stationary."""
        mean, precision = self.prior
        return self.split(y)[2] + precision * (q - mean)
