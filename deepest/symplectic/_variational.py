"""Variational integrators: the Euler–Lagrange equations of a discrete action, in position–momentum form."""

from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from deepest.mechanics import Lagrangian, momentum
from deepest.symplectic._base import AbstractSymplectic, pair
from deepest.symplectic._roots import finder, size
from deepest.transcription import PartitionedTableau, gauss_nodes, lagrange, lobatto_nodes


class Galerkin(AbstractSymplectic):
    """Paths that are polynomials of a `degree` on every step, their action taken by a quadrature rule:

        L_d(x_0, x_1) = ext h Σ_i b_i 𝓛(t_i, q(t_i), dq/dt(t_i)),   p_0 = −∂L_d/∂x_0,   p_1 = ∂L_d/∂x_1.

    `quadrature` is "gauss" with as many points as the degree, which is Gauss's collocation method, or "lobatto" with
    one more, which is Lobatto IIIA–IIIB where 𝓛 is ½ v² − V; either way the order is 2 · degree. Degree 1 is the
    midpoint rule and the trapezoid rule (Störmer–Verlet where 𝓛 is ½ v² − V).

    `lagrangian` is 𝓛(t, x, v, args) → scalar. For one ODE term with y = (x, p), arrays (D,) each: Hamilton's equations
    of the same 𝓛, `mechanics.hamilton_term(mechanics.Legendre(𝓛))`, which serve the first guess and dense output only.

    `root_finder` is optimistix's; by default its `Chord` method to 50 times the rounding of the numbers.
    Source: [marsden2001].
    """

    lagrangian: Lagrangian
    degree: int = eqx.field(static=True)
    quadrature: str = eqx.field(static=True)
    root_finder: optx.AbstractRootFinder | None
    root_find_max_steps: int
    term_structure: ClassVar = diffrax.AbstractTerm

    def __init__(
        self,
        lagrangian: Lagrangian,
        degree: int = 1,
        quadrature: str = "gauss",
        root_finder: optx.AbstractRootFinder | None = None,
        root_find_max_steps: int = 50,
    ):
        if degree < 1 or quadrature not in ("gauss", "lobatto"):
            raise ValueError(
                'A Galerkin integrator needs degree ≥ 1 and quadrature "gauss" or "lobatto"; received '
                f"degree={degree}, quadrature={quadrature!r}."
            )
        self.lagrangian, self.degree, self.quadrature = lagrangian, degree, quadrature
        self.root_finder, self.root_find_max_steps = root_finder, root_find_max_steps

    @property
    def declared(self) -> int:
        return 2 * self.degree

    def init(self, terms, t0, t1, y0, args):
        del terms, t0, t1, args
        pair(y0, "A variational integrator")

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def advance(self, terms, t0, t1, y0, args, state, jumped):
        del jumped
        (x, p), step = y0, terms.contr(t0, t1)
        velocity, _ = terms.vf(t0, y0, args)
        nodes, weights, values, slopes, controls = (
            a if k == 0 else jnp.asarray(a, x.dtype) for k, a in enumerate(self._rule())
        )
        # Where diffrax runs backward it hands over −t as time, and a negative step.
        start = t0 * step / (t1 - t0)
        times = [start + float(c) * step for c in nodes]

        def density(x, u):
            """L_d / h of the control points x and x + h u_ν: in u, because differences of points would be rounded."""
            places, speeds = x[None] + step * (values[:, 1:] @ u), slopes[:, 1:] @ u
            costs = [self.lagrangian(t, q, v, args) for t, q, v in zip(times, places, speeds, strict=True)]
            return jnp.vdot(weights, jnp.stack(costs))

        def pushes(u):
            """∂L_d/∂x_ν of all control points, the first included."""
            by_place, by_speed = jax.grad(density, argnums=(0, 1))(x, u)
            return jnp.concatenate([(step * by_place - jnp.sum(by_speed, axis=0))[None], by_speed])

        guess = controls[1:, None] * velocity[None]
        # Momenta are differences of terms as large as M v, whose rounding no residual falls below.
        kinetic = jax.jvp(lambda v: momentum(self.lagrangian, start, x, v, args), (velocity,), (velocity,))[1]
        force, speed = size(p, kinetic), size(velocity)

        def mismatch(u, given):
            push = pushes(speed * u)
            return push[:-1].at[0].add(p) / force

        found = optx.root_find(
            mismatch,
            finder(self.root_finder, x.dtype),
            guess / speed,
            None,
            throw=False,
            max_steps=self.root_find_max_steps,
        )
        u = speed * found.value
        return (x + step * u[-1], pushes(u)[-1]), state, diffrax.RESULTS.promote(found.result)

    def _rule(self):
        """Quadrature nodes (r,) and weights (r,), values and slopes (r, degree + 1) of the polynomials that are one at
        one control point, and the control points (degree + 1,)."""
        controls = lobatto_nodes(self.degree + 1)
        nodes = gauss_nodes(self.degree) if self.quadrature == "gauss" else controls
        values = lagrange(controls, nodes)
        terms = lambda j: [
            lagrange(np.delete(controls, m), nodes)[:, j - (m < j)] / (controls[j] - controls[m])
            for m in range(controls.size)
            if m != j
        ]
        slopes = np.stack([np.sum(terms(j), axis=0) for j in range(controls.size)], axis=1)
        return nodes, PartitionedTableau.paired(nodes, 1).weights, values, slopes, controls
