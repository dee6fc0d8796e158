"""Networks and their action: identities, closed forms, and what bad input is told."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from nets import KEYS, KINDS, action, chain, field, flow, pairs, scattered

from deepest.minimise import LBFGS, Conjugate, DampedNewton, Joint, Representers, Samples
from deepest.networks import (
    CrossEntropy,
    Dense,
    Elements,
    LayerMap,
    NetworkAction,
    Pairs,
    Piecewise,
    SquaredError,
)


def eps(factor=1.0):
    return factor * float(jnp.finfo(jnp.result_type(float)).eps)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_of_a_network_are_what_comes_back(kind):
    """Runs take a network apart and put it together again bit for bit, of whatever layers it is."""
    of = action(kind)
    again = of.trained(of.start().weights)
    assert jax.tree.structure(again) == jax.tree.structure(of.network)
    assert all((a == b).all() for a, b in zip(leaves(again), leaves(of.network), strict=True))
    moved = of.trained(scattered(of.start().weights))
    assert not any(
        (a == b).all() for a, b in zip(*map(leaves, (moved, of.network)), strict=True) if a.dtype.kind == "f"
    )
    flat = lambda network: ravel_pytree(
        eqx.filter(network.runs(of.pairs.inputs.shape[1:], float), eqx.is_inexact_array)
    )
    assert (flat(moved)[0] == ravel_pytree(scattered(of.start().weights))[0]).all()


@pytest.mark.float32
@pytest.mark.parametrize("kind", ["mixed", "convolution", "recurrent", "entry"])
def test_states_and_errors_are_inverse_and_without_errors_a_forward_pass(kind):
    of = action(kind, inputs="noisy")
    problem, z = of.at(10.0), of.start()
    samples = Samples(problem)
    network = eqx.filter_jit(lambda x: jax.vmap(of.network)(x))
    outputs = jax.vmap(problem.output)(z.states)
    assert np.allclose(network(jnp.asarray(of.pairs.inputs)), outputs, rtol=0, atol=eps(20))
    errors = scattered(jax.tree.map(jnp.zeros_like, z.states), seed=3)
    back = eqx.filter_jit(lambda errors: samples.errors(z.weights, samples.states(z.weights, errors)))(errors)
    for given, found in zip(jax.tree.leaves(errors), jax.tree.leaves(back), strict=True):
        assert np.allclose(given, found, rtol=0, atol=eps(50))


def test_a_recurrent_layer_errs_at_every_label():
    """The action is the sum over l and τ that the docstring writes, with errors inside the layer."""
    network = action("recurrent").network
    inner, outer = network.layers[0], network.layers[1]
    x, y = jax.random.normal(KEYS[3], (3, 2)), jax.random.normal(KEYS[4], (3, 3))
    before = [jnp.zeros(3), y[0], y[1]]
    by_hand = jnp.stack([y[t] - inner.cell(x[t], before[t]) for t in range(3)])
    assert np.allclose(inner.errors(x, y), by_hand, rtol=0, atol=eps(10))
    assert np.allclose(inner.forced(x, by_hand), y, rtol=0, atol=eps(20))
    assert outer(y).shape == (3, 2)


@pytest.mark.float32
def test_what_is_not_measured_has_no_share_in_the_action():
    """A NaN target is as if its component had been left out of the sum, and of what is counted."""
    masked, whole = action("chain", masked=True), action("chain")
    z = Joint(whole.start().weights, scattered(whole.start().states))
    z = eqx.tree_at(lambda z: z.states.first, z, whole.start().states.first)
    output = jax.vmap(whole.at(1.0).output)(z.states)[1, 0]
    missing = 0.5 * 4.0 * (output - whole.pairs.targets[1, 0]) ** 2
    # A difference of two sums, which is as precise as they are.
    cost = whole.at(2.0).cost(z)
    assert np.isclose(cost - masked.at(2.0).cost(z), missing, rtol=0, atol=eps(20) * float(cost))
    assert (masked.measured, whole.measured) == (5, 6)
    components = Pairs.of_components(
        whole.pairs.inputs[:, :2], whole.pairs.targets[:, 1:], components=([0, 2], [1]), widths=(3, 2),
        noise=0.5, input_prior=(0.0, 1.0),
    )  # fmt: skip
    assert np.isnan(components.inputs[:, 1]).all() and np.isnan(components.targets[:, 0]).all()
    assert NetworkAction(whole.network, components).measured == 3


def test_the_prior_is_centred_where_it_is_asked_to_be():
    of = [NetworkAction(chain(), pairs((3,)), decay=2.0, centred=centred) for centred in (False, True)]
    z = of[0].start()
    norm = float(jnp.sum(ravel_pytree(z.weights)[0] ** 2))
    assert np.isclose(of[0].at(jnp.inf).cost(z) - of[1].at(jnp.inf).cost(z), norm, rtol=1e-12)


@pytest.mark.float32
@pytest.mark.parametrize("cost", [SquaredError(), CrossEntropy()], ids=lambda cost: type(cost).__name__)
def test_an_end_cost_is_differentiated_as_it_says(cost):
    """Its gradient is jax.grad's, and B Bᵀ is jax.hessian, for cross-entropy diag(s) − s sᵀ."""
    output = jnp.asarray([0.3, -1.2, 2.0])
    target = jnp.asarray(2) if isinstance(cost, CrossEntropy) else jnp.asarray([1.0, jnp.nan, 0.5])
    weight = jnp.asarray(1.0) if isinstance(cost, CrossEntropy) else jnp.asarray([4.0, 0.0, 0.25])
    local, value = cost.local(output, target, weight), lambda z: cost(z, target, weight)
    assert np.allclose(local.gradient, jax.grad(value)(output), rtol=0, atol=eps(20))
    assert np.allclose(local.factor @ local.factor.T, jax.hessian(value)(output), rtol=0, atol=eps(20))
    if isinstance(cost, CrossEntropy):
        s = jax.nn.softmax(output)
        assert np.allclose(local.factor @ local.factor.T, jnp.diag(s) - jnp.outer(s, s), rtol=0, atol=eps(20))


FORMS = {
    "representers": DampedNewton(limit=60, form=Representers(iterations=200, tolerance=1e-10)),
    "conjugate": DampedNewton(limit=60, form=Conjugate(iterations=200, tolerance=1e-10)),
    "lbfgs": LBFGS(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_scalar_linear_network_has_its_minimum_in_closed_form(form):
    """Two maps x → w x with model error between them and no prior on w, from exact inputs of one pair.

    The action is ½ (z − y)² + ½ R_f Σ e²; errors e_1, e_2 move the output by w_2 e_1 + e_2, so that with W free it
    vanishes; with W held by a strong prior to (a, b) it is ½ (b a x − y)² / (1 + (b² + 1)/R_f).
    """
    a, b, x, y, ratio = 0.8, -1.3, 0.7, 1.1, 2.5
    layers = [eqx.tree_at(lambda d: d.weight, Dense(1, 1, None, bias=False, key=KEYS[0]), jnp.full((1, 1), w))
              for w in (a, b)]  # fmt: skip
    held = NetworkAction(LayerMap(layers), Pairs(np.array([[x]]), np.array([[y]])), decay=1e9, centred=True)
    solve = eqx.filter_jit(lambda problem, z: FORMS[form].minimise(problem, z, tolerance=1e-13, floor=1e-12))
    found = solve(held.at(ratio), held.start())
    assert np.isclose(found.cost, 0.5 * (b * a * x - y) ** 2 / (1.0 + (b**2 + 1.0) / ratio), rtol=1e-6)


def test_a_linear_layer_is_ridge_regression_at_a_reduced_precision():
    """One linear map from exact inputs: eliminating x_1 leaves the residual's precision R_m R_f/(R_m + R_f)."""
    rng, decay, ratio = np.random.default_rng(0), 0.3, 4.0
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    of = NetworkAction(LayerMap([Dense(3, 2, None, bias=False, key=KEYS[0])]), Pairs(x, y), decay=decay)
    found = eqx.filter_jit(DampedNewton(limit=60, form=Representers(iterations=100, tolerance=1e-12)).minimise)(
        of.at(ratio), of.start(), tolerance=1e-14, floor=1e-12
    )
    precision = ratio / (1.0 + ratio)
    weight = np.linalg.solve(precision * x.T @ x + decay * np.eye(3), precision * x.T @ y)
    level = 0.5 * precision * np.sum((x @ weight - y) ** 2) + 0.5 * decay * np.sum(weight**2)
    assert np.isclose(found.cost, level, rtol=1e-10)
    assert np.allclose(of.trained(found.z.weights).layers[0].weight, weight.T, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["constant", "piecewise", "elements"])
def test_refined_layers_converge(weights):
    """The forward pass at the solver's order, here 2, and the action of a path that errs at the first, for an error
    stands at the end of its layer. At the continuum R_f N/T it approaches ½ ∫ R_f |dx/dt − F|² dt, here of
    x(t) = x_0 + v t."""
    make = {
        "constant": lambda: field(KEYS[0]),
        "piecewise": lambda: Piecewise.of(field, 2, 1.5, key=KEYS[0]),
        "elements": lambda: Elements.of(field, 3, 1.5, key=KEYS[0]),
    }[weights]()
    x, v = jnp.asarray([0.3, -0.8]), jnp.asarray([0.4, -0.9])

    def found(layers):
        of = NetworkAction(flow(make, layers), Pairs(x[None], x[None]), decay=0.0)
        weights, _ = eqx.partition(of.runs, eqx.is_inexact_array)
        path = x[None] + jnp.linspace(0.0, 1.5, layers + 1)[1:, None] * v[None]
        states = eqx.tree_at(lambda s: (s.first, s.runs), of.start().states, (x[None], (path[None],)))
        return of.at(3.0).cost(Joint(weights, states)) - 0.5 * jnp.sum((path[-1] - x) ** 2), of.network(x)

    levels, outputs = zip(*(found(layers) for layers in (8, 16, 32)), strict=True)
    output = flow(make, 512)(x)
    time = np.linspace(0.0, 1.5, 4001)[:-1] + 1.5 / 8000
    place = lambda t: x + t * v
    mismatch = jax.jit(jax.vmap(lambda t: jnp.sum((v - make(t, place(t))) ** 2)))(jnp.asarray(time))
    level = 0.5 * 3.0 * 1.5 * float(jnp.mean(mismatch))
    slope = lambda errors: np.log2(errors[1] / errors[2])
    assert abs(slope([abs(float(each - level)) for each in levels]) - 1.0) < 0.35
    assert abs(slope([float(jnp.linalg.norm(each - output)) for each in outputs]) - 2.0) < 0.35
