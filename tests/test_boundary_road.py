"""Training as a two-point boundary value problem: its conditions, its limit, and what it refuses."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepest import Ladder
from deepest.boundary import Annealed, Gauss, Lobatto, MultipleShooting
from deepest.minimise import DampedNewton, Representers
from deepest.networks import BoundaryValue, ContinuousNetwork, Dense, Ending, LayerMap, NetworkAction, Pairs, fit


class Field(eqx.Module):
    """dx/dt = tanh(W x + b (1 + t))."""

    weight: jax.Array
    bias: jax.Array

    def __call__(self, t, x, args):
        return jnp.tanh(self.weight @ x + self.bias * (1.0 + t))


def field(size):
    spread = np.linspace(-1.0, 1.0, size * size + size)
    return Field(jnp.asarray(np.sin(3.0 * spread[size:]).reshape(size, size)), jnp.asarray(0.3 * spread[:size]))


def pairs(seed, count=4, **options):
    """Of a turning flow that such a field can follow, with a little noise on the outputs, more on the inputs."""
    draw = np.random.default_rng(seed)
    true = Field(jnp.array([[0.4, -1.5], [1.5, 0.2]]), jnp.array([0.2, -0.1]))
    inputs = draw.normal(size=(count, 2))
    targets = np.asarray(jax.vmap(ContinuousNetwork(true, 1.0, 20))(jnp.asarray(inputs)))
    noisy = targets + 0.05 * draw.normal(size=targets.shape), inputs + 0.1 * draw.normal(size=inputs.shape)
    return Pairs(noisy[1], noisy[0], noise=0.1, **options)


def action(layers=10, **options):
    return NetworkAction(ContinuousNetwork(field(2), 1.0, layers), pairs(0, input_noise=0.1), **options)


ROAD = BoundaryValue(Ladder(0.1, 10.0, 3), strong=False, intervals=6)


@pytest.mark.slow
def test_it_trains_and_goes_on_from_a_file(tmp_path):
    """To less than half of the best constant's error on fresh pairs; and resumed to the same bits."""
    held, path = pairs(1, 50), tmp_path / "training.nc"
    whole = fit(action(), ROAD, held_out=held)
    assert whole.ending == Ending.finished and not whole.collapsed
    assert whole.history.held_out_error[-1] < 0.5 * whole.baseline[1]
    assert np.all(np.diff(whole.history.action) > 0)  # more is asked on every rung

    def stop(row):
        if row["stage"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(action(), ROAD, held_out=held, checkpoint=path, progress=stop)
    again = fit(action(), ROAD, held_out=held, checkpoint=path, resume=True)
    assert eqx.tree_equal(again.network, whole.network)


def test_the_conditions_of_both_ends_and_of_the_weights_hold():
    """p(0) = R_i (x − y_0), p(T) = −R_m (x − y), ∫ pᵀ ∂F/∂W dt = μ W, by Simpson's rule on the nodes."""
    given = action(decay=0.5)
    state, _, _ = ROAD.advance(given, ROAD.begin(given), 0)
    path, p = (leaf.reshape(7, 4, 2) for leaf in (state.path, state.momenta))
    assert np.allclose(p[0], (path[0] - given.pairs.inputs) / 0.1**2, atol=1e-6)
    assert np.allclose(p[-1], -(path[-1] - given.pairs.targets) / 0.1**2, atol=1e-6)
    trained = given.trained(ROAD.weights(state)).field

    @jax.jit
    def work(trained):
        rates = jax.vmap(lambda t, x: jax.vmap(lambda x: trained(t, x, None))(x))(jnp.linspace(0.0, 1.0, 7), path)
        weights = jnp.asarray([1.0, 4.0, 2.0, 4.0, 2.0, 4.0, 1.0]) / 18.0
        return jnp.sum(weights * jnp.sum(p * rates, axis=(1, 2)))

    slopes = jax.grad(work)(trained)
    for slope, weight in ((slopes.weight, trained.weight), (slopes.bias, trained.bias)):
        assert np.allclose(slope, 0.5 * weight, atol=2e-3)


def reached(given, road):
    state, cost, _ = road.advance(given, road.begin(given), 0)
    return float(cost), state


@pytest.mark.slow
@pytest.mark.parametrize("noise", [None, 0.1], ids=["exact inputs", "noisy inputs"])
def test_it_is_what_the_network_s_action_approaches_with_more_layers(noise):
    """A_N − A ∝ 1/N, because the errors of a layer enter at its end; extrapolated, the same as far as 1/N² goes."""
    given = NetworkAction(ContinuousNetwork(field(2), 1.0, 10), pairs(0, input_noise=noise))
    limit, state = reached(given, BoundaryValue(Ladder(0.01, rungs=1), intervals=16))
    network, costs = given.trained(state.weights), []
    minimiser = DampedNewton(200, Representers(iterations=100, tolerance=1e-10, proximal=0.0))
    layers = np.array([16, 32, 64])
    for count in layers:
        finer = NetworkAction(ContinuousNetwork(network.field, 1.0, int(count)), given.pairs)
        search = eqx.filter_jit(lambda problem, z: minimiser.minimise(problem, z, tolerance=1e-13).cost)
        costs.append(float(search(finer.at(0.01), finer.start())))
    gaps = np.array(costs) - limit
    assert np.all(np.abs(np.diff(np.log2(np.abs(gaps))) + 1.0) < 0.1)
    better = 2.0 * np.array(costs[1:]) - np.array(costs[:-1]) - limit
    assert abs(better[-1]) < 0.3 * abs(better[0]) and abs(better[-1]) < 0.1 * abs(gaps[-1])


@pytest.mark.slow
@pytest.mark.parametrize("method", [Gauss(2), Lobatto(3)], ids=lambda method: type(method).__name__)
def test_its_action_has_the_order_of_collocation(method):
    """Four, of both."""
    finest, *costs = (
        reached(action(), BoundaryValue(Ladder(1.0, rungs=1), method=method, intervals=k))[0] for k in (24, 3, 6)
    )
    assert np.log2((costs[0] - finest) / (costs[1] - finest)) > 4.0 - 0.35


@pytest.mark.slow
def test_its_last_rung_is_the_strong_constraint():
    """The states of a forward pass, costates that are its derivatives, and weights at which the loss is least."""
    given = action(decay=0.5)
    road = BoundaryValue(Ladder(10.0, 10.0, 2), intervals=6)
    state, cost = road.begin(given), np.nan
    for stage in range(3):
        state, cost, _ = road.advance(given, state, stage)
    path, p = (leaf.reshape(7, 4, 2) for leaf in (state.path, state.momenta))
    fine = ContinuousNetwork(given.trained(road.weights(state)).field, 1.0, 6, solver=diffrax.Dopri8())

    def loss(network, inputs):
        outputs, arrays = jax.vmap(network)(inputs), jax.tree.leaves(eqx.filter(network.field, eqx.is_array))
        fit = jnp.sum((outputs - given.pairs.targets) ** 2) + jnp.sum((inputs - given.pairs.inputs) ** 2)
        return 0.5 * fit / 0.1**2 + 0.25 * sum(jnp.sum(leaf**2) for leaf in arrays)

    both = eqx.filter_value_and_grad(lambda what: loss(*what))
    value, (by_network, by_inputs) = eqx.filter_jit(both)((fine, path[0]))
    assert np.allclose(jax.vmap(fine)(path[0]), path[-1], atol=1e-5)
    assert np.allclose(p[0], (path[0] - given.pairs.inputs) / 0.1**2, atol=1e-6)
    assert np.isclose(cost, value, rtol=1e-5)
    assert all(np.max(np.abs(slope)) < 2e-3 for slope in (*jax.tree.leaves(by_network), by_inputs))


@pytest.mark.slow
def test_a_softened_rung_arrives_where_a_plain_one_does():
    ladder = Ladder(1.0, rungs=1)
    plain, _ = reached(action(), BoundaryValue(ladder, intervals=6))
    softened, _ = reached(action(), BoundaryValue(ladder, method=Annealed(Gauss(2), start=0.3), intervals=6))
    assert np.isclose(plain, softened, rtol=1e-6)


@pytest.mark.slow
def test_augmented_dimensions_begin_at_zero():
    wide = Pairs(pairs(0).inputs, np.pad(pairs(0).targets, ((0, 0), (0, 1)), constant_values=np.nan), noise=0.1)
    given = NetworkAction(ContinuousNetwork(field(3), 1.0, 6, augment=1), wide)
    cost, state = reached(given, BoundaryValue(Ladder(1.0, rungs=1)))
    path, p = (leaf.reshape(7, 4, 3) for leaf in (state.path, state.momenta))
    assert np.isfinite(cost)
    assert np.allclose(path[0], np.pad(wide.inputs, ((0, 0), (0, 1))), atol=1e-9)
    assert np.allclose(p[-1, :, 2], 0.0, atol=1e-6)  # what is not measured is free there


def layered():
    return NetworkAction(LayerMap([Dense(2, 2, key=jax.random.key(0))]), pairs(0))


def with_readout():
    readout = Dense(2, 2, None, key=jax.random.key(0))
    return NetworkAction(ContinuousNetwork(field(2), 1.0, 5, readout=readout), pairs(0))


def many():
    return NetworkAction(ContinuousNetwork(field(2), 1.0, 5), pairs(0, 120))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (layered, "needs a continuous depth: a ContinuousNetwork; received a LayerMap"),
        (with_readout, "without entry= and readout="),
        (many, "at most 400; received 480 of states and momenta and 6 weights"),
    ],
    ids=["layers", "readout", "many pairs"],
)
def test_what_it_cannot_train_is_refused_in_a_sentence(given, message):
    with pytest.raises(ValueError, match=message):
        fit(given(), ROAD)


def test_it_is_solved_by_collocation_on_a_mesh():
    with pytest.raises(ValueError, match="by collocation; received a MultipleShooting"):
        BoundaryValue(method=Annealed(MultipleShooting()))
    with pytest.raises(ValueError, match="at least one interval; received intervals=0"):
        BoundaryValue(intervals=0)
