"""The exact derivative of an explicit Runge–Kutta solve, by the method that is symplectic with it."""

import math
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from deepest.costate._adjoint import AbstractGridAdjoint
from deepest.costate._tableau import added, advanced, explicit, linearised, rate


class SymplecticAdjoint(AbstractGridAdjoint):
    """`diffeqsolve(..., adjoint=SymplecticAdjoint())`: the discrete solution's own derivative, in little memory.

    With λ the derivative of a scalar by the state (the costate is p = −λ), a step of an explicit Runge–Kutta method is
    transposed stage by stage, from the last to the first:

        l_i = h DF(Y_i)ᵀ (b_i λ_{n+1} + Σ_{j>i} a_ji l_j),   λ_n = λ_{n+1} + Σ_i l_i,

    which is the partner that makes a symplectic partitioned method of it, so that λ · δx is constant along the discrete
    solution and its variations δx. The derivative is that of automatic differentiation through the steps, to rounding.

    The grid is fixed (`ConstantStepSize` or `StepTo`), the solver a `diffrax.AbstractERK` or `diffrax.Euler`.
    Derivatives are by y0, args and the arrays in the terms (an Equinox module as vector field; what a plain function
    closes over is refused by JAX), through `SaveAt` of t0, t1, ts, steps, fn or subs, once, in reverse mode.

    `checkpoints` states of the forward pass are kept, by default √max_steps, and between two of them the states are
    made again: memory is so many states, and max_steps / checkpoints more, and the stages of one step, for the price of
    one more forward pass. With as many checkpoints as steps (`checkpoints=max_steps`) nothing but the stages is.
    Set `max_steps` to about the number of steps. Source: [sanzserna2016], [matsubara2021].
    """

    checkpoints: int | None = None
    keeps: ClassVar[bool] = True

    def __check_init__(self):
        if self.checkpoints is not None and self.checkpoints < 1:
            raise ValueError(f"Expected at least one checkpoint; received checkpoints={self.checkpoints}.")

    def check(self, solver):
        explicit(solver, type(self).__name__)

    def stride(self, steps):
        checkpoints = math.isqrt(max(steps - 1, 0)) + 1 if self.checkpoints is None else self.checkpoints
        return max(1, -(-steps // checkpoints))

    def advance(self, solver, terms, start, end, y, args):
        tableau = explicit(solver, type(self).__name__)
        return advanced(tableau, rate(lambda model: model, start, end), start, end, y, (terms, args))

    def linearise(self, solver, whole, start, end, y, model, dense):
        tableau = explicit(solver, type(self).__name__)
        y1, slopes, pull = linearised(tableau, rate(whole, start, end), start, end, y, model, every=dense)
        if not dense:
            return None, lambda bar, _: pull(bar)
        data = {"y0": y, "y1": y1}
        # diffrax writes Euler's dense output without stages.
        if not isinstance(solver, diffrax.Euler):
            data["k"] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *slopes)

        def through(bar, data_bar):
            bars = data_bar.get("k")
            shares = None if bars is None else [jax.tree.map(lambda k, i=i: k[i], bars) for i in range(len(slopes))]
            by_y, by_model = pull(added(bar, data_bar["y1"]), shares)
            return added(by_y, data_bar["y0"]), by_model

        return data, through
