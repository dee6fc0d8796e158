"""Transcriptions whose defect is any function of an interval's two ends: one-step maps and implicit rules."""

import abc
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from deepest.linalg import BorderedTridiagonal, Equations
from deepest.transcription._assemble import assemble
from deepest.transcription._base import AbstractTranscription, Field, PathProblem, just_before


class AbstractIntervalDefect(AbstractTranscription):
    """A transcription with one defect c(t, h, x_a, x_b) an interval and no interior points.

    Derivatives come from automatic differentiation of the defect itself, D + D + P directions an interval. Where the
    field jumps at nodes, a defect sees its limit from the left at the interval's end.
    """

    @abc.abstractmethod
    def defect(
        self,
        field: Field,
        t: Float[Array, ""],
        h: Float[Array, ""],
        ends: tuple[Float[Array, " state"], Float[Array, " state"]],
        parameters: Float[Array, " parameter"],
    ) -> Float[Array, " state"]:
        """The defect of one interval that starts at t and is h wide."""

    def residuals(self, problem, z):
        defect, places, _ = self._flat(problem, z)
        return jax.vmap(defect)(*places)[:, None, :]

    def _flat(self, problem, z):
        """The defect by an interval's span (t, h, end) and u = (x_a, x_b, θ), both of all intervals; slices of u."""
        size, times = z.nodes.shape[1], problem.times
        stacked = lambda a, b: jnp.concatenate([a, b, z.shared])
        split = lambda u: ((u[:size], u[size : 2 * size]), u[2 * size :])
        # The end is the node itself, which t + h need not be to the bit.
        defect = lambda span, u: self.defect(_within(problem, span[2]), span[0], span[1], *split(u))
        spans = jnp.stack([times[:-1], problem.widths, times[1:]], axis=1)
        places = (spans, jax.vmap(stacked)(z.nodes[:-1], z.nodes[1:]))
        return defect, places, (slice(0, size), slice(size, 2 * size), slice(2 * size, None))

    def equations(self, problem, z):
        defect, places, windows = self._flat(problem, z)
        jacobian = jax.vmap(jax.jacfwd(defect, argnums=1))(*places)
        left, right, shared = (jacobian[:, :, window] for window in windows)
        return jax.vmap(defect)(*places)[:, None, :], Equations(left, right[:, :, :0], right, shared)

    def bend(self, problem, z, multipliers, system):
        defect, places, windows = self._flat(problem, z)
        second = lambda span, u, m: jax.hessian(lambda u: jnp.vdot(m, defect(span, u)))(u)
        return _bend(system, jax.vmap(second)(*places, multipliers[:, 0]), windows)

    def quadratic(self, problem, z, layout):
        defect, places, windows = self._flat(problem, z)
        residuals = jax.vmap(defect)(*places)
        jacobian = layout.vmap(jax.jacfwd(defect, argnums=1), batched=(True, True))(*places)
        a, b, p = (layout.columns(jacobian, window) for window in windows)
        weighed_a, weighed_b = (problem.weight.times(layout, x) for x in (a, b))
        force, weighed_p = (problem.weight.times(layout, x) for x in (layout.matrices(residuals[:, :, None]), p))
        gradient, system = assemble(
            layout,
            {(0, 1): layout.tmul(a, weighed_b)},
            diagonal=layout.overlap(layout.tmul(a, weighed_a), layout.tmul(b, weighed_b)),
            border=[layout.overlap(layout.tmul(a, weighed_p), layout.tmul(b, weighed_p))],
            corner=layout.gram(p, weighed_p),
            gradient=[layout.overlap(layout.tmul(a, force), layout.tmul(b, force))],
            shared=layout.gram(p, force)[:, 0],
        )
        return residuals[:, None, :], gradient, system


def _within(problem: PathProblem, end: Float[Array, ""]) -> Field:
    """The field as an interval sees it that ends there."""
    if not problem.jumps:
        return problem.field
    return lambda t, x, parameters: problem.field(jnp.minimum(t, just_before(end)), x, parameters)


def _bend(system: BorderedTridiagonal, second: Float[Array, "interval unknown unknown"], windows):
    """The matrix plus second derivatives in (x_a, x_b, θ)."""
    layout, (a, b, p) = system.layout, windows
    get = lambda rows, columns: layout.matrices(second[:, rows, columns])
    return BorderedTridiagonal(
        diagonal=system.diagonal + layout.overlap(get(a, a), get(b, b)),
        upper=system.upper + get(a, b),
        border=system.border + layout.overlap(get(a, p), get(b, p)),
        interior=system.interior,
        left=system.left,
        right=system.right,
        inner=system.inner,
        corner=system.corner + second[:, p, p].sum(0),
        layout=layout,
    )


class ImplicitMidpoint(AbstractIntervalDefect):
    """c = x_{n+1} − x_n − h F(t_n + h/2, ½(x_n + x_{n+1})): second order, symplectic for Hamiltonian F."""

    stride: ClassVar[int] = 1
    defects: ClassVar[int] = 1
    order: ClassVar[int] = 2

    def defect(self, field, t, h, ends, parameters):
        a, b = ends
        return b - a - h * field(t + 0.5 * h, 0.5 * (a + b), parameters)


class RungeKutta4(AbstractIntervalDefect):
    """c = x_{n+1} − Φ_h(x_n) with the classical Runge–Kutta map Φ: fourth order, explicit."""

    stride: ClassVar[int] = 1
    defects: ClassVar[int] = 1
    order: ClassVar[int] = 4

    def defect(self, field, t, h, ends, parameters):
        a, b = ends
        one = field(t, a, parameters)
        two = field(t + 0.5 * h, a + 0.5 * h * one, parameters)
        three = field(t + 0.5 * h, a + 0.5 * h * two, parameters)
        four = field(t + h, a + h * three, parameters)
        return b - a - h / 6.0 * (one + 2.0 * two + 2.0 * three + four)


class OneStep(AbstractIntervalDefect):
    """c = x_{n+1} − Φ(field, t, h, x_n) with any one-step map of the user's own.

    `map(field, t, h, x)` takes `field(t, x)` and returns the next state (D,); for a discrete-time model,
    `lambda field, t, h, x: field(t, x)`. Its order is the map's, which cannot be known here; it is declared 1.
    """

    map: Callable
    stride: ClassVar[int] = 1
    defects: ClassVar[int] = 1
    order: ClassVar[int] = 1

    def defect(self, field, t, h, ends, parameters):
        a, b = ends
        return b - self.map(lambda t, x: field(t, x, parameters), t, h, a)
