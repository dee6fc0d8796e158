"""Momenta of a network: costates of a forward pass where R_f = ∞, and approaching them as 1/R_f."""

import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields import mostly_slow

from deepest import networks
from deepest.costate import explicit_step, sweep, sweep_flow
from deepest.minimise import DampedNewton, Representers
from deepest.networks import ContinuousNetwork, Dense, Elman, LayerMap, NetworkAction, Pairs, Recurrent, Residual

KEYS = jax.random.split(jax.random.key(4), 4)
DENSE = LayerMap([Dense(3, 4, key=KEYS[0]), Dense(4, 2, jax.nn.sigmoid, key=KEYS[1])])
RESIDUAL = LayerMap([Residual(Dense(3, 3, key=key), 0.5) for key in KEYS])
IMAGES = LayerMap([eqx.nn.Conv2d(1, 2, 2, key=KEYS[0]), jnp.tanh, eqx.nn.Conv2d(2, 1, 2, key=KEYS[1])])
ELMAN = LayerMap([Recurrent(Elman(2, 3, key=KEYS[0]), 3), Recurrent(Elman(3, 2, key=KEYS[1]), 2)])
GATED = LayerMap([Recurrent(eqx.nn.GRUCell(2, 3, key=KEYS[0]), 3)])


class Field(eqx.Module):
    """dx/dt = tanh(W x + b t)."""

    weight: jax.Array
    bias: jax.Array

    def __call__(self, t, x, args):
        return jnp.tanh(self.weight @ x + self.bias * t)


FLOW = ContinuousNetwork(Field(jnp.array([[0.3, -1.0], [0.8, 0.2]]), jnp.array([0.5, -0.2])), 1.5, 5)

CHAINS = {"dense": (DENSE, (3,)), "residual": (RESIDUAL, (3,)), "convolution": (IMAGES, (1, 4, 4))}
RECURRENT = {"elman": (ELMAN, (4, 2)), "gated": (GATED, (4, 2))}
ALL = CHAINS | RECURRENT | {"flow": (FLOW, (2,))}


def posed(network, shape, count=2, **options):
    """An action of random pairs, with noise on the inputs."""
    draw = np.random.default_rng(len(shape))
    inputs = draw.normal(size=(count, *shape))
    targets = draw.normal(size=jax.vmap(network)(jnp.asarray(inputs)).shape)
    return NetworkAction(network, Pairs(inputs, targets, noise=0.5, input_noise=0.2), **options)


def layers(network):
    """Plain functions, those without weights with the layer before."""
    if network is IMAGES:
        first, bend, last = network.layers
        return [lambda x: bend(first(x)), last]
    if network is FLOW:
        times = jnp.linspace(0.0, 1.5, 6)
        step = lambda start, end: lambda x: explicit_step(diffrax.Heun(), network.field, start, end, x)
        return [step(*ends) for ends in itertools.pairwise(times)]
    return network.layers


def forced(network, x, errors):
    """The states after all layers, each with its errors, written out."""
    states = [x]
    for layer, e in zip(layers(network), errors, strict=True):
        if isinstance(layer, Recurrent):
            y = [jnp.zeros(layer.size)]
            for tau in range(x.shape[0]):
                y.append(layer.cell(states[-1][tau], y[-1]) + e[tau])
            states.append(jnp.stack(y[1:]))
        else:
            states.append(layer(states[-1]) + e)
    return states


def close(one, other, bound=1e-12):
    return bool(jnp.linalg.norm(one - other) <= bound * jnp.linalg.norm(other))


def cost_of(action, k):
    return lambda x: action.cost(x.ravel(), action.data.target[k], action.data.weight[k])


@pytest.mark.parametrize("name", mostly_slow(("dense", "convolution", "elman", "flow"), ALL))
def test_momenta_of_an_exact_network_are_its_derivatives(name):
    """p_l = −∂Φ/∂e_l, and Df(x_0)ᵀp_1 = −∂Φ/∂x_0, by automatic differentiation of a plain loop."""
    network, shape = ALL[name]
    action = posed(network, shape)
    found = networks.momenta(action, action.start(), np.inf)
    for k in range(2):
        x, cost = action.data.expected[k], cost_of(action, k)
        still = [jnp.zeros_like(p[k]) for p in found.layers]
        last = lambda x, errors, cost=cost: cost(forced(network, x, errors)[-1])
        by_x, by_errors = jax.jit(jax.grad(last, argnums=(0, 1)))(x, still)
        assert close(found.first[k], -by_x)
        assert all(close(p[k], -slope) for p, slope in zip(found.layers, by_errors, strict=True))


@pytest.mark.parametrize("name", mostly_slow(("residual",), CHAINS))
def test_momenta_of_an_exact_chain_are_those_of_a_sweep(name):
    network, shape = CHAINS[name]
    action = posed(network, shape)
    found = networks.momenta(action, action.start(), np.inf)
    swept = sweep(layers(network), action.data.expected[0], cost_of(action, 0))
    costates = [found.first, *found.layers]
    assert all(close(p[0], q) for p, q in zip(costates, swept.costates, strict=True))


def test_momenta_of_an_exact_flow_are_those_of_a_sweep():
    action = posed(FLOW, (2,))
    found = networks.momenta(action, action.start(), np.inf)
    given = action.data.expected[1], cost_of(action, 1), jnp.linspace(0.0, 1.5, 6)
    swept = sweep_flow(FLOW.field, *given, solver=diffrax.Heun())
    (flow,) = found.runs
    assert flow.shape == (2, 5, 2)
    assert close(jnp.concatenate([found.first[1, None], flow[1]]), swept.costates)


@pytest.mark.parametrize("name", mostly_slow(("gated",), RECURRENT))
def test_inside_a_recurrent_layer_costates_also_come_from_the_next_label(name):
    """p(l, τ) = (∂cell/∂h)ᵀ p(l, τ + 1) + what a sweep over whole layers gives y(l, τ)."""
    network, shape = RECURRENT[name]
    action = posed(network, shape)
    z = action.start()
    found = networks.momenta(action, z, np.inf)
    swept = sweep(network.layers, action.data.expected[0], cost_of(action, 0))
    before = action.data.expected[0]
    for layer, p, outer, y in zip(network.layers, found.layers, swept.costates[1:], swept.states[1:], strict=True):
        for tau in range(3):
            _, back = jax.vjp(lambda h, tau=tau, layer=layer, x=before: layer.cell(x[tau + 1], h), y[tau])
            assert close(p[0, tau], back(p[0, tau + 1])[0] + outer[tau])
        assert close(p[0, 3], outer[3])
        before = y


@pytest.mark.parametrize("name", mostly_slow(("dense", "flow"), ALL))
def test_momenta_weigh_errors(name):
    """p_l = R_f r_l (x_l − f_l(x_{l−1})) at states that a forward pass with errors makes, and
    ∂A/∂W = −Σ p_l · ∂f_l/∂W + μ W."""
    network, shape = ALL[name]
    action = posed(network, shape)
    shapes = [p.shape for p in networks.momenta(action, action.start(), np.inf).layers]
    draw = np.random.default_rng(3)
    errors = [jnp.asarray(0.3 * draw.normal(size=shape)) for shape in shapes]
    away = jnp.asarray(0.1 * draw.normal(size=action.data.expected.shape))
    begun = action.data.expected + away
    roll = jax.jit(jax.vmap(lambda x, e: forced(network, x, e)[1:]))
    states, ratio, unit = roll(begun, errors), 7.0, 1.0 / 0.5**2
    start, at = action.start(), lambda leaf: leaf.states
    runs, count = [], 0
    for run in start.states.runs:
        runs.append(jnp.stack(states[count : count + run.shape[1]], axis=1))
        count += run.shape[1]
    z = eqx.tree_at(at, start, eqx.tree_at(lambda s: (s.first, s.runs), start.states, (begun, tuple(runs))))
    found = networks.momenta(action, z, ratio)
    stiffness = ratio * unit * (5 / 1.5 if network is FLOW else 1.0)
    assert all(close(p, stiffness * e) for p, e in zip(found.layers, errors, strict=True))
    assert close(found.demanded, away / 0.2**2)

    def work(weights):
        """−Σ p · f, which is Σ p · e up to a constant."""
        problem = action.at(ratio)
        made = jax.vmap(problem.errors, (None, 0, 0))(weights, z.states, problem.data)
        prior = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(weights))
        return sum(jnp.vdot(p, e) for p, e in zip(found.runs, made.runs, strict=True)) + 0.5 * action.decay * prior

    slopes = jax.jit(jax.grad(lambda w: action.at(ratio).cost(eqx.tree_at(lambda z: z.weights, z, w))))(z.weights)
    expected = jax.jit(jax.grad(work))(z.weights)
    pairs = zip(jax.tree.leaves(slopes), jax.tree.leaves(expected), strict=True)
    assert all(close(one, other) for one, other in pairs)


def twin(noise=0.1, count=20):
    draw, true = np.random.default_rng(0), networks.perceptron([2, 2, 2, 2], residual=0.5, gain=1.5, key=KEYS[2])
    clean = draw.normal(size=(count, 2))
    targets = np.asarray(jax.vmap(true)(jnp.asarray(clean))) + noise * draw.normal(size=(count, 2))
    return clean + 2.0 * noise * draw.normal(size=(count, 2)), targets


EXACTLY = Representers(iterations=100, tolerance=1e-12, proximal=0.0)


@eqx.filter_jit
def minimised(problem, z):
    found = DampedNewton(100, EXACTLY).minimise(problem, problem.settled(z), tolerance=1e-15, damping=1e-3, floor=1e-12)
    return found.z


@pytest.mark.parametrize("weights", ["free", "held"])
def test_annealed_momenta_approach_backpropagation_as_one_over_the_model_precision(weights):
    """Of the minimum over states and weights, and over states where an infinitely sharp prior holds the weights."""
    inputs, targets = twin()
    prior = {"decay": 1.0} if weights == "free" else {"decay": 1e10, "centred": True}
    network = networks.perceptron([2, 2, 2, 2], residual=0.5, key=KEYS[3])
    action = NetworkAction(network, Pairs(inputs, targets, noise=0.5, input_noise=0.2), **prior)
    z = minimised(action.at(jnp.inf), action.start())
    limit, distances, ratios = networks.momenta(action, z, np.inf), [], np.array([1e4, 1e3, 1e2])
    for ratio in ratios:
        z = minimised(action.at(ratio), z)
        found = networks.momenta(action, z, ratio)
        # Both ends' conditions hold at the minimum, to what its search leaves.
        assert close(found.first, found.demanded, 1e-5)
        _, error = jax.vjp(jax.vmap(action.cost), z.states.runs[-1][:, -1], action.data.target, action.data.weight)
        assert close(found.layers[-1], -error(jnp.ones(20))[0], 1e-5)
        gaps = [jnp.linalg.norm(p - q) for p, q in zip(found.layers, limit.layers, strict=True)]
        distances.append(float(jnp.linalg.norm(jnp.stack(gaps))))
    slopes = np.diff(np.log(distances)) / np.diff(np.log(ratios))
    assert np.all(np.abs(slopes + 1.0) < 0.1)


@pytest.mark.slow
def test_inputs_with_noise_make_a_linear_layer_total_least_squares():
    """Of Y ≈ X Wᵀ with errors of equal size in both: the singular vectors of [X Y], where exact inputs give the normal
    equations, whose W is too small."""
    draw, true = np.random.default_rng(2), np.array([[1.2, -0.7], [0.4, 0.9]])
    clean = draw.normal(size=(400, 2))
    inputs, targets = (x + 0.4 * draw.normal(size=x.shape) for x in (clean, clean @ true.T))
    layer = LayerMap([Dense(2, 2, None, bias=False, key=KEYS[0])])

    def weight(noise):
        action = NetworkAction(layer, Pairs(inputs, targets, noise=0.4, input_noise=noise), decay=0.0)
        z = minimised(action.at(jnp.inf), action.start())
        return action.trained(z.weights).layers[0].weight, z.states.first

    _, _, v = np.linalg.svd(np.concatenate([inputs, targets], axis=1), full_matrices=False)
    total = -(v[2:, :2].T @ np.linalg.inv(v[2:, 2:].T)).T
    (free, estimated), (clamped, _) = weight(0.4), weight(None)
    assert close(free, jnp.asarray(total), 1e-6)
    assert close(clamped, jnp.asarray(np.linalg.lstsq(inputs, targets)[0].T), 1e-6)
    assert np.linalg.norm(free - true) < 0.3 * np.linalg.norm(clamped - true)
    # Half of what is measured of a pair is of its input: the estimate is nearer to the truth than the measurement.
    assert np.linalg.norm(estimated - clean) < 0.9 * np.linalg.norm(inputs - clean)
