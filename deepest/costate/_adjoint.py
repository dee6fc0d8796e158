"""What both adjoints share: a solve by diffrax whose derivative is walked backward step by step on the same grid."""

import abc
import functools as ft
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from deepest.costate._back import Back
from deepest.costate._grid import Clock, room
from deepest.costate._saved import saved


class AbstractGridAdjoint(diffrax.AbstractAdjoint):
    """An adjoint for `diffeqsolve(..., adjoint=…)` on a fixed grid, in segments of `stride` steps.

    The forward pass is diffrax's own. Of it remain y_0, y_N and, where `keeps`, the state at the start of every
    segment. The backward pass goes through the segments from the last to the first, and in each remakes the times of
    its steps (and their states, where `keeps`), then goes back through the steps.

    This needs of diffrax, beside its public names, what `AbstractAdjoint.loop` is handed and hands back: of
    `init_state` the fields y, tprev, tnext, controller_state, and save_state with ts and ys, one for each `SubSaveAt`;
    of the final state y, tprev, num_steps and save_state.ys. `BacksolveAdjoint` uses the same way in.
    """

    keeps: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def check(self, solver: diffrax.AbstractSolver) -> None:
        """A `ValueError` for a solver that this adjoint does not know."""

    @abc.abstractmethod
    def stride(self, steps: int) -> int:
        """Steps in a segment, of so many at most in all."""

    @abc.abstractmethod
    def advance(self, solver, terms, start: Array, end: Array, y: PyTree[Array], args: PyTree) -> PyTree[Array]:
        """One step from y, or back where end < start."""

    @abc.abstractmethod
    def linearise(self, solver, whole: Callable, start: Array, end: Array, y: PyTree[Array], model, dense: bool):
        """(dense output's data, or None; pull) of a step.

        `whole(model)` is (terms, args). `pull(bar, dense_bar)` takes derivatives by y_1 and by that data to those by
        y_0 and model."""

    def loop(
        self, *, args, terms, solver, stepsize_controller, event, saveat, t0, t1, dt0, max_steps, init_state,
        passed_solver_state, throw, passed_controller_state, progress_meter,
    ):  # fmt: skip
        """diffrax's loop, with this derivative."""
        del throw, passed_controller_state
        who = type(self).__name__
        _refuse(who, terms, event, saveat, passed_solver_state)
        self.check(solver)
        steps = _most(who, stepsize_controller, max_steps)
        saveat = _opened(saveat, t0, init_state.y, args)
        times = t0, t1, dt0, stepsize_controller, saveat
        t0, t1, dt0, stepsize_controller, saveat = _each(lambda leaf: _given(leaf, who), times)
        # The state goes beside it; all else in it depends on the times alone, or is made anew.
        still = _each(lax.stop_gradient, init_state)
        final, stats = _solve(
            (init_state.y, args, terms), adjoint=self, steps=steps, solver=solver, saveat=saveat, init_state=still,
            stepsize_controller=stepsize_controller, event=None, t0=t0, t1=t1, dt0=dt0, max_steps=max_steps,
            progress_meter=progress_meter,
        )  # fmt: skip
        ys = lambda state: [part.ys for part in _flat(saveat.subs, state.save_state)]
        constant = jax.tree.map(lambda leaf: _constant(leaf) if eqx.is_array(leaf) else leaf, (final, stats))
        return eqx.tree_at(lambda both: ys(both[0]), constant, ys(final))


@jax.custom_jvp
def _constant(leaf: Array) -> Array:
    """The leaf without a derivative; unlike `lax.stop_gradient` also where it is of integers, on which diffrax calls
    what has no rule for one."""
    return leaf


@ft.partial(_constant.defjvp, symbolic_zeros=True)
def _constant_jvp(primals, tangents) -> tuple[Any, Any]:
    del tangents
    return primals[0], jax.custom_derivatives.SymbolicZero.from_primal_value(primals[0])


def _each(function: Callable, tree: PyTree) -> PyTree:
    """The function of every inexact array in a tree."""
    return jax.tree.map(lambda leaf: function(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


@ft.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _given(leaf: Array, who: str) -> Array:
    """The leaf, whose derivative is refused where one is asked for."""
    del who
    return leaf


@ft.partial(_given.defjvp, symbolic_zeros=True)
def _given_jvp(who, primals, tangents):
    if not isinstance(tangents[0], jax.custom_derivatives.SymbolicZero):
        raise ValueError(
            f"{who} gives derivatives by y0, args and the arrays in the terms; received a derivative by t0, t1, dt0, "
            "the times of a grid, or an array in SaveAt."
        )
    return primals[0], tangents[0]


def _refuse(who: str, terms, event, saveat: diffrax.SaveAt, passed_solver_state: bool) -> None:
    """A `ValueError` for what neither adjoint knows."""
    noise = lambda leaf: isinstance(leaf, diffrax.AbstractBrownianPath)
    if any(map(noise, jax.tree.leaves(terms, is_leaf=noise))):
        raise ValueError(f"{who} expects an ordinary differential equation; received a term with a Brownian path.")
    if event is not None:
        raise ValueError(f"{who} expects a solve from t0 to t1 without an event; received one.")
    if saveat.dense or saveat.solver_state:
        raise ValueError(
            f"{who} expects SaveAt(t0, t1, ts, steps, fn, subs); received dense=True or solver_state=True, whose "
            "derivatives it does not have."
        )
    if passed_solver_state:
        raise ValueError(f"{who} starts every solve without a solver state; received one.")


def _opened(saveat: diffrax.SaveAt, time: Array, y: PyTree[Array], args: PyTree) -> diffrax.SaveAt:
    """The same, with what its functions close over as their leaves: diffrax closes over the direction of time."""
    plain = diffrax.SubSaveAt(t1=True).fn

    def opened(sub):
        fn = sub.fn if sub.fn is plain else eqx.filter_closure_convert(sub.fn, time, y, args)
        return eqx.tree_at(lambda sub: sub.fn, sub, fn)

    subs = jax.tree.map(opened, saveat.subs, is_leaf=lambda leaf: isinstance(leaf, diffrax.SubSaveAt))
    return eqx.tree_at(lambda saveat: saveat.subs, saveat, subs)


def _most(who: str, controller: diffrax.AbstractStepSizeController, max_steps: int | None) -> int:
    """The largest number of steps that a grid may have, or a `ValueError` if it is none."""
    if isinstance(controller, diffrax.StepTo):
        steps = len(controller.ts) - 1
        return steps if max_steps is None else min(steps, max_steps)
    if not isinstance(controller, diffrax.ConstantStepSize):
        raise ValueError(
            f"{who} expects a grid that is known beforehand, by diffrax.ConstantStepSize or diffrax.StepTo; received "
            f"{type(controller).__name__}."
        )
    if max_steps is None:
        raise ValueError(f"{who} expects a number as max_steps, to know how much room its grid needs; received None.")
    return max_steps


def _run(varying, saveat, init_state, **options):
    """diffrax's forward loop. The state is put in here, since it is differentiated and the rest is not."""
    y, args, terms = varying
    init_state = eqx.tree_at(lambda state: state.y, init_state, y)
    return diffrax.ForwardMode().loop(
        args=args, terms=terms, saveat=saveat, init_state=init_state, throw=False, passed_solver_state=False,
        passed_controller_state=False, **options,
    )  # fmt: skip


@eqx.filter_custom_vjp
def _solve(varying, *, adjoint, steps, **options):
    del adjoint, steps
    return _run(varying, **options)


@_solve.def_fwd
def _solve_fwd(perturbed, varying, *, adjoint, steps, saveat, init_state, **options):
    del perturbed
    y0, stride = varying[0], adjoint.stride(steps)
    if not adjoint.keeps:
        final, stats = _run(varying, saveat, init_state, **options)
        return (final, stats), (None, final.y, final.num_steps, final.tprev)
    # The checkpoints are one more thing for diffrax to save.
    subs = (saveat.subs, diffrax.SubSaveAt(steps=stride))
    like = _flat(saveat.subs, init_state.save_state)[0]
    size = steps // stride
    empty = jnp.full((size,), jnp.inf, like.ts.dtype), room(y0, size)
    mine = eqx.tree_at(lambda saved: (saved.ts, saved.ys), like, empty)
    more = eqx.tree_at(lambda state: state.save_state, init_state, (init_state.save_state, mine))
    final, stats = _run(varying, eqx.tree_at(lambda saveat: saveat.subs, saveat, subs), more, **options)
    theirs, mine = final.save_state
    final = eqx.tree_at(lambda state: state.save_state, final, theirs)
    return (final, stats), (mine.ys, final.y, final.num_steps, final.tprev)


def _flat(subs: PyTree, tree: PyTree) -> list:
    """What a tree has for each `SubSaveAt`."""
    structure = jax.tree.structure(subs, is_leaf=lambda leaf: isinstance(leaf, diffrax.SubSaveAt))
    return structure.flatten_up_to(tree)


@_solve.def_bwd
def _solve_bwd(residuals, bars, perturbed, varying, *, adjoint, steps, **options):
    checkpoints, y_end, count, until = residuals
    y0, args, terms = varying
    model, fixed = eqx.partition((terms, args), (perturbed[2], perturbed[1]))
    clock = Clock(options["stepsize_controller"], jnp.asarray(count, jnp.int32), until)
    subs, given = options["saveat"].subs, options["init_state"]
    final_bars, _ = bars
    parts = saved(
        _flat(subs, subs), [part.ys for part in _flat(subs, final_bars.save_state)],
        [part.ys for part in _flat(subs, given.save_state)],
        lambda fn, t, y, model: fn(t, y, eqx.combine(model, fixed)[1]), clock,
    )  # fmt: skip
    back = Back(adjoint, options["solver"], fixed, parts, clock, adjoint.stride(steps))
    first = clock.first(given.tprev, given.tnext, given.controller_state)
    y_bar, (terms_bar, args_bar) = back(first, y0, y_end, checkpoints, model, steps)
    return y_bar, args_bar, terms_bar
