"""The derivative of a symmetric explicit solve, whose states are found again by stepping back."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from deepest.costate._adjoint import AbstractGridAdjoint
from deepest.symplectic import AbstractSeparable


class ReversibleAdjoint(AbstractGridAdjoint):
    """`diffeqsolve(..., adjoint=ReversibleAdjoint())`: the discrete solution's own derivative, without checkpoints.

    A symmetric method's step with −h undoes its step with h, x_n = Φ_{−h}(x_{n+1}), so that the states are found again
    from the last on the way back, and λ_n = DΦ_h(x_n)ᵀ λ_{n+1} beside them; the costate is p = −λ. Memory is that of
    one step, and of 2 √max_steps times.

    For `symplectic`'s explicit solvers that are `symmetric` (`StormerVerlet`, `Yoshida4` … `BlanesMoan6`) on a fixed
    grid, `ConstantStepSize` or `StepTo`. The derivative is that of automatic differentiation through the steps, up to
    what rounding makes of the states on the way back: 1e-15 after a hundred steps; after many it grows as the motion
    tells neighbours apart, so that a chaotic one (Hénon and Heiles, Verlet, h = 0.1) is at 1e-12 after 10³ steps, 1e-7
    after 10⁴, and lost after 10⁵. Then take diffrax's `RecursiveCheckpointAdjoint`. Derivatives are by y0, args and the
    arrays in the terms, once, in reverse mode.
    """

    keeps: ClassVar[bool] = False

    def check(self, solver):
        if not isinstance(solver, AbstractSeparable) or not solver.symmetric:
            raise ValueError(
                f"{type(self).__name__} expects an explicit solver of deepest.symplectic that is symmetric, such as "
                f"StormerVerlet; received {type(solver).__name__}."
            )

    def stride(self, steps):
        return math.isqrt(max(steps - 1, 0)) + 1

    def advance(self, solver, terms, start, end, y, args):
        return solver.advance(terms, start, end, y, args, _stale(solver, terms, start, end, y, args), True)[0]

    def linearise(self, solver, whole, start, end, y, model, dense):
        def step(y, model):
            terms, args = whole(model)
            if not dense:
                return self.advance(solver, terms, start, end, y, args), None
            state = _stale(solver, terms, start, end, y, args)
            y1, _, data, _, _ = solver.step(terms, start, end, y, args, state, True)
            return y1, data

        (_, data), transpose = jax.vjp(step, y, model)
        return data, lambda bar, data_bar: transpose((bar, data_bar))


def _stale(solver, terms, start, end, y, args):
    """A solver state that is of the right shapes; a step does not look at it after a jump."""
    struct = eqx.filter_eval_shape(solver.init, terms, start, end, y, args)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), struct)
