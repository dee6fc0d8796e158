"""States forward and costates backward, layer by layer or step by step."""

from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Inexact, PyTree

from deepest.costate._tableau import added, advanced, explicit, linearised, rate


class Sweep(eqx.Module):
    """What `sweep` and `sweep_flow` find.

    `states` x_0 … x_N and `costates` p_0 … p_N are a list for layers, whose widths may differ, and stacked (N + 1, …)
    for a flow. `gradients` are ∂C/∂W, a list with a tree for each layer, or one pair (field, args) for a flow, None
    where there is nothing to differentiate. `cost` is C, a scalar.
    """

    states: PyTree[Array]
    costates: PyTree[Array]
    gradients: Any
    cost: Array


# Called as (n, x), with the number of a node before the last.
Running = Callable[[Any, PyTree[Array]], Array]


def sweep(
    layers: Sequence[Callable],
    x: PyTree[Array],
    cost: Callable[[PyTree[Array]], Array],
    *,
    running: Running | None = None,
) -> Sweep:
    """Forward pass and backpropagation of layers x_{n+1} = f_n(x_n) as motion of states and costates.

        p_N = −∂C/∂x_N,   p_n = Df_n(x_n)ᵀ p_{n+1} − ∂c_n/∂x_n,   ∂C/∂W_n = −p_{n+1} · ∂f_n/∂W_n

    `layers` are Equinox modules or functions of one array (or tree) each, of any shapes that fit; `cost` is that of
    x_N, a scalar, and `running`(n, x_n) those c_n of what is measured before, at n = 0 … N − 1. C is the sum of all.
    W_n are all inexact arrays of a layer. It is the limit R_f → ∞ at finite p of the action's stationary path.
    """
    states, transposes = [x], []
    for layer in layers:
        model, fixed = eqx.partition(layer, eqx.is_inexact_array)
        apply = lambda model, x, fixed=fixed: eqx.combine(model, fixed)(x)
        y, transpose = jax.vjp(apply, model, states[-1])
        states.append(y)
        transposes.append(transpose)
    value, costate = _end(cost, states[-1])
    costates, gradients = [costate], []
    for n, transpose in reversed(list(enumerate(transposes))):
        by_model, costate = transpose(costates[-1])
        more, source = _source(running, n, states[n], value)
        value = value + more
        costates.append(jax.tree.map(jnp.add, costate, source))
        gradients.append(_negative(by_model))
    return Sweep(states, costates[::-1], gradients[::-1], value)


def sweep_flow(
    field: Callable,
    x: PyTree[Array],
    cost: Callable[[PyTree[Array]], Array],
    times: Float[ArrayLike, "..."],
    *,
    args: PyTree = None,
    solver: diffrax.AbstractSolver | None = None,
    running: Running | None = None,
) -> Sweep:
    """The same for a continuous field dx/dt = F(t, x, args) on the nodes `times` (N + 1,), in either direction.

    A layer is one step of an explicit Runge–Kutta `solver`, by default `diffrax.Tsit5()`, and the costates are those of
    `SymplecticAdjoint`: they approach dp/dt = −DFᵀp at the solver's order, and p_n · δx_n is the same at every node for
    every variation δx of the discrete solution, if nothing is measured between the ends. `running`(n, x_n) is given n
    as an integer array, such that y[n] may stand in it. All states are kept. Derivatives are by the inexact arrays of
    field and args.
    """
    nodes = jnp.asarray(times)
    if nodes.ndim != 1 or nodes.size < 2:
        raise ValueError(f"Expected times of shape (N + 1,) with N ≥ 1; received shape {nodes.shape}.")
    tableau = explicit(diffrax.Tsit5() if solver is None else solver, "sweep_flow")
    model, fixed = eqx.partition((field, args), eqx.is_inexact_array)

    def whole(model):
        field, args = eqx.combine(model, fixed)
        return diffrax.ODETerm(field), args

    def step(start, end, x):
        return linearised(tableau, rate(whole, start, end), start, end, x, model)

    def forward(x, interval):
        start, end = interval
        y, _, _ = step(start, end, x)
        return y, y

    def backward(carry, given):
        costate, by_model, value = carry
        n, (start, end), x = given
        costate, by_step = step(start, end, x)[2](costate)
        more, source = _source(running, n, x, value)
        costate = jax.tree.map(jnp.add, costate, source)
        return (costate, added(by_model, by_step), value + more), costate

    ends = nodes[:-1], nodes[1:]
    last, after = lax.scan(forward, x, ends)
    states = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), x, after)
    value, costate = _end(cost, last)
    given = jnp.arange(nodes.size - 1), ends, jax.tree.map(lambda leaf: leaf[:-1], states)
    begin = costate, jax.tree.map(jnp.zeros_like, model), value
    (_, by_model, value), before = lax.scan(backward, begin, given, reverse=True)
    costates = jax.tree.map(lambda rest, end: jnp.concatenate([rest, end[None]]), before, costate)
    return Sweep(states, costates, _negative(by_model), value)


def explicit_step(
    solver: diffrax.AbstractSolver, field: Callable, start: Array, end: Array, x: PyTree[Array], args: PyTree = None
) -> PyTree[Array]:
    """The state after one step of an explicit Runge–Kutta solver from the scalar time `start` to `end`, x of any shape
    (D,), (C, H, W), and nothing else: a layer. Raises `ValueError` for a solver that is not one."""
    terms = diffrax.ODETerm(field), args
    return advanced(explicit(solver, "A layer"), rate(lambda model: model, start, end), start, end, x, terms)


def _end(cost: Callable, x: PyTree[Array]) -> tuple[Inexact[Array, ""], PyTree[Array]]:
    """C and p_N = −∂C/∂x_N."""
    value, by_state = jax.value_and_grad(cost)(x)
    return value, _negative(by_state)


def _source(running: Running | None, n, x: PyTree[Array], like: Array) -> tuple[Array, PyTree[Array]]:
    """c_n and −∂c_n/∂x_n, zeros where nothing is measured."""
    if running is None:
        return jnp.zeros_like(like), jax.tree.map(jnp.zeros_like, x)
    value, by_state = jax.value_and_grad(lambda x: running(n, x))(x)
    return value, _negative(by_state)


def _negative(tree: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(jnp.negative, tree)
