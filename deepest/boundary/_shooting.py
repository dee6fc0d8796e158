"""Shooting: integrate from every node with diffrax, and ask the pieces to meet."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepest.boundary._method import AbstractMethod, locate


class AbstractShooting(AbstractMethod):
    """y_{n+1} − Φ(y_n, q) = 0, with Φ the flow over an interval by a diffrax solver to rtol = atol = `tolerance`.

    Derivatives are the solver's own. Where an integration fails, its end is infinite. `adjoint` serves derivatives of
    the solution, and must allow forward mode, and reverse mode where that is used; the search for it takes forward mode
    alone.
    """

    solver: eqx.AbstractVar[diffrax.AbstractSolver]
    tolerance: eqx.AbstractVar[float]
    max_steps: eqx.AbstractVar[int]
    adjoint: eqx.AbstractVar[diffrax.AbstractAdjoint]
    searching: eqx.AbstractVar[bool]

    @property
    def noise(self) -> float:
        """The integrator's relative error."""
        return self.tolerance

    def transposable(self):
        return dataclasses.replace(self, searching=False)

    def inside(self, rates, times, nodes, q):
        return jnp.zeros((times.size - 1, 0), nodes.dtype)

    def _flow(self, rates, t0, t1, y, q):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rates),
            self.solver,
            t0,
            t1,
            None,
            y,
            q,
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=diffrax.PIDController(rtol=self.tolerance, atol=self.tolerance),
            max_steps=self.max_steps,
            adjoint=diffrax.ForwardMode() if self.searching else self.adjoint,
            throw=False,
        )
        return jnp.where(solution.result == diffrax.RESULTS.successful, jnp.asarray(solution.ys)[0], jnp.inf)

    def residual(self, rates, times, z):
        flow = lambda t0, t1, y: self._flow(rates, t0, t1, y, z.shared)
        return z.nodes[1:] - jax.vmap(flow)(times[:-1], times[1:], z.nodes[:-1])

    def _flows(self, rates, times, nodes, q):
        """Ends (K, M) of all intervals, with their slopes along y (K, M, M) and q (K, M, P)."""

        def one(t0, t1, y):
            flow = lambda y, q: (lambda end: (end, end))(self._flow(rates, t0, t1, y, q))
            (along_y, along_q), end = jax.jacfwd(flow, argnums=(0, 1), has_aux=True)(y, q)
            return end, along_y, along_q

        return jax.vmap(one)(times[:-1], times[1:], nodes[:-1])

    def linearise(self, rates, times, z):
        ends, along_y, along_q = self._flows(rates, times, z.nodes, z.shared)
        count, size = ends.shape
        eye = jnp.broadcast_to(jnp.eye(size, dtype=ends.dtype), (count, size, size))
        return z.nodes[1:] - ends, (-along_y, jnp.zeros((count, size, 0), ends.dtype), eye, -along_q)

    def evaluate(self, rates, times, z, t):
        n = locate(times, t)
        return self.transposable()._flow(rates, times[n], t, z.nodes[n], z.shared)

    def defects(self, rates, times, z):
        return jnp.zeros(times.size - 1, z.nodes.dtype)


class MultipleShooting(AbstractShooting):
    """From every node of the guess, pieces that must meet: each interval magnifies only what its own length allows."""

    solver: diffrax.AbstractSolver = diffrax.Dopri8()
    tolerance: float = 1e-10
    max_steps: int = 4096
    adjoint: diffrax.AbstractAdjoint = diffrax.DirectAdjoint()
    searching: bool = True

    def mesh(self, count):
        return np.arange(count)

    def growth(self, rates, guess, times, z):
        ends, along_y, _ = self._flows(rates, times, z.nodes, z.shared)
        return jnp.max(jnp.where(jnp.isfinite(ends[:, 0]), _norm(along_y), jnp.inf))


class SingleShooting(AbstractShooting):
    """From one end to the other at once.

    Of use on short windows: over a long one of a chaotic or a stiff model the flow of (x, p) magnifies rounding beyond
    everything, which the result then says (`Status.growth`), with the growth along the guess.
    """

    solver: diffrax.AbstractSolver = diffrax.Dopri8()
    tolerance: float = 1e-10
    max_steps: int = 4096
    adjoint: diffrax.AbstractAdjoint = diffrax.DirectAdjoint()
    searching: bool = True

    def mesh(self, count):
        return np.array([0, count - 1])

    def growth(self, rates, guess, times, z):
        _, along_y, _ = self._flows(rates, *guess, z.shared)

        def onward(carry, slope):
            product, total = carry
            product = slope @ product
            size = _norm(product[None])[0]
            return (product / size, total + jnp.log(size)), None

        start = (jnp.eye(along_y.shape[1], dtype=along_y.dtype), jnp.zeros((), along_y.dtype))
        (_, total), _ = lax.scan(onward, start, along_y)
        return jnp.exp(total)


def _norm(slopes):
    """The largest singular value of every matrix; infinite where one is not finite."""
    finite = jnp.all(jnp.isfinite(slopes), axis=(1, 2))
    size = jnp.linalg.norm(jnp.where(finite[:, None, None], slopes, jnp.ones_like(slopes)), ord=2, axis=(1, 2))
    return jnp.where(finite, size, jnp.inf)
