"""Sweeps: equality with automatic differentiation, the symplectic identity, order."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields import EXPLICIT, Field, agree, given, mostly_slow, score

from deepest.costate import SymplecticAdjoint, sweep, sweep_flow


class Dense(eqx.Module):
    weight: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return jnp.tanh(self.weight @ x + self.bias)


class Residual(eqx.Module):
    inside: Dense

    def __call__(self, x):
        return x + 0.3 * self.inside(x)


class Convolution(eqx.Module):
    """Of a row of numbers as one channel, into one row."""

    kernel: jax.Array

    def __call__(self, x):
        return jnp.convolve(x, self.kernel, mode="valid")


def network():
    draw = lambda *shape: jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape) / 2.0, float)
    dense = lambda rows, columns: Dense(draw(rows, columns), draw(rows))
    return [Convolution(draw(3)), dense(7, 6), Residual(dense(7, 7)), jnp.sin, dense(2, 7)], draw(8)


@pytest.mark.float32
def test_a_sweep_is_backpropagation():
    """Costates are −∂C/∂x_n, by the layers from n on; gradients those of the whole network."""
    layers, x = network()
    cost = lambda x: jnp.sum((x - 0.2) ** 2)

    def from_layer(n, layers, x):
        for layer in layers[n:]:
            x = layer(x)
        return cost(x)

    found = sweep(layers, x, cost)
    bound = 50.0 * float(jnp.finfo(jnp.result_type(float)).eps)
    assert [state.size for state in found.states] == [8, 6, 7, 7, 7, 2]
    assert found.cost == from_layer(0, layers, x)
    assert agree(found.gradients, eqx.filter_grad(lambda layers: from_layer(0, layers, x))(layers), bound)
    for n, (state, costate) in enumerate(zip(found.states, found.costates, strict=True)):
        assert agree(costate, -jax.grad(lambda x, n=n: from_layer(n, layers, x))(state), bound)


def test_a_sweep_of_images_keeps_their_shape():
    convolutions = [eqx.nn.Conv2d(c, d, 3, key=jax.random.key(c)) for c, d in ((1, 3), (3, 2))]
    layers, x = [convolutions[0], jnp.tanh, convolutions[1], jnp.ravel], jnp.linspace(-1.0, 1.0, 49).reshape(1, 7, 7)
    whole = lambda layers: jnp.sum(layers[3](layers[2](layers[1](layers[0](x)))) ** 2)
    found = sweep(layers, x, lambda x: jnp.sum(x**2))
    assert found.costates[0].shape == (1, 7, 7)
    assert agree(found.gradients, eqx.filter_grad(whole)(layers))


def flow(steps=14):
    """(field, x, args, nodes, cost, bound of so many roundings)."""
    times, cost = jnp.linspace(0.0, 0.07 * steps, steps + 1), lambda x: score(x[None])
    return *given(), times, cost, 100.0 * float(jnp.finfo(jnp.result_type(float)).eps)


@pytest.mark.float32
@pytest.mark.parametrize(
    "solver", mostly_slow((diffrax.Euler, diffrax.Midpoint, diffrax.Bosh3, diffrax.Tsit5), EXPLICIT)
)
def test_a_flow_s_costates_are_its_derivatives(solver):
    """Those of automatic differentiation through the steps; and p · δx is the same at every node."""
    field, x, args, times, cost, bound = flow()

    @eqx.filter_jit
    def both(what, by):
        field, x, args = what
        run = lambda what: sweep_flow(what[0], what[1], cost, times, args=what[2], solver=solver())
        _, variations = jax.jvp(lambda x: run((field, x, args)).states, (x,), (by,))
        return run(what), eqx.filter_grad(lambda what: cost(run(what).states[-1]))(what), variations

    found, (by_field, by_x, by_args), variations = both((field, x, args), jnp.array([0.5, -1.0, 0.2]))
    assert agree((found.gradients, found.costates[0]), ((by_field, by_args), -by_x), bound)
    products = jnp.sum(found.costates * variations, axis=1)
    assert jnp.max(jnp.abs(products - products[-1])) < bound * jnp.abs(products[-1])


@pytest.mark.float32
def test_a_flow_is_swept_as_the_adjoint_does():
    """Cost, gradients and first costate are those of the solve."""
    field, x, args, times, cost, bound = flow()
    found = sweep_flow(field, x, cost, times, args=args, solver=diffrax.Midpoint())

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def solved(what):
        term, adjoint = diffrax.ODETerm(what[0]), SymplecticAdjoint()
        options = {"stepsize_controller": diffrax.StepTo(times), "adjoint": adjoint}
        ends = times[0], times[-1]
        return score(diffrax.diffeqsolve(term, diffrax.Midpoint(), *ends, None, what[1], what[2], **options).ys)

    value, (by_field, by_y0, by_args) = solved((field, x, args))
    assert agree((found.cost, found.gradients, found.costates[0]), (value, (by_field, by_args), -by_y0), bound)


# Tsit5's and Dopri8's errors here fall faster than their orders say until they meet rounding, so that none is measured.
ORDERED = [solver for solver in EXPLICIT if solver not in (diffrax.Tsit5, diffrax.Dopri8)]


@eqx.filter_jit
def middle(steps, solver):
    """The costate at a node in the middle."""
    field, x, args = given()
    times = jnp.linspace(0.0, 1.0, steps + 1)
    return sweep_flow(field, x, lambda x: score(x[None]), times, args=args, solver=solver).costates[steps // 2]


@pytest.mark.parametrize("solver", mostly_slow((diffrax.Euler, diffrax.Ralston, diffrax.Bosh3), ORDERED))
def test_costates_approach_the_adjoint_equation_at_the_solvers_order(solver):
    """dp/dt = −DFᵀp, against a far finer grid."""
    exact = middle(200, diffrax.Dopri8())
    errors = [float(jnp.linalg.norm(middle(steps, solver()) - exact)) for steps in (16, 32)]
    assert abs(np.log2(errors[0] / errors[1]) - solver().order(None)) < 0.35


@pytest.mark.parametrize("times", [0.3, [0.3], [[0.0, 1.0]]])
def test_a_flow_needs_nodes(times):
    with pytest.raises(ValueError, match=r"times of shape \(N \+ 1,\)"):
        sweep_flow(Field(), jnp.zeros(3), jnp.sum, np.array(times))


@pytest.mark.float32
def test_what_is_measured_before_the_end_is_a_source_of_costates():
    """C = Σ_n c_n(x_n) + C(x_N), by automatic differentiation through a plain loop."""
    layers, x = network()
    cost, running = lambda x: jnp.sum((x - 0.2) ** 2), lambda n, x: (n + 1.0) * jnp.sum(jnp.cos(x))

    def from_layer(n, layers, x):
        total = jnp.zeros_like(x[0])
        for k in range(n, len(layers)):
            total, x = total + running(k, x), layers[k](x)
        return total + cost(x)

    found = sweep(layers, x, cost, running=running)
    bound = 50.0 * float(jnp.finfo(jnp.result_type(float)).eps)
    assert agree(found.cost, from_layer(0, layers, x), bound)
    assert agree(found.gradients, eqx.filter_grad(lambda layers: from_layer(0, layers, x))(layers), bound)
    for n, (state, costate) in enumerate(zip(found.states, found.costates, strict=True)):
        assert agree(costate, -jax.grad(lambda x, n=n: from_layer(n, layers, x))(state), bound)


@pytest.mark.float32
def test_measurements_along_a_flow_are_sources_of_its_costates():
    field, x, args, times, cost, bound = flow(6)
    values = jnp.asarray(np.random.default_rng(5).normal(size=(6, 3)), x.dtype)
    running = lambda n, x: jnp.sum((x - values[n]) ** 2)

    @eqx.filter_jit
    def both(what):
        run = lambda what, running: sweep_flow(what[0], what[1], cost, times, args=what[2], running=running)
        states = lambda what: run(what, None).states
        total = lambda xs: cost(xs[-1]) + jnp.sum((xs[:-1] - values) ** 2)
        return run(what, running), eqx.filter_value_and_grad(lambda what: total(states(what)))(what)

    found, (value, (by_field, by_x, by_args)) = both((field, x, args))
    assert agree((found.cost, found.gradients, found.costates[0]), (value, (by_field, by_args), -by_x), bound)
