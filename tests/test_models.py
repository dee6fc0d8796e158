"""Vector fields against their formulas, and models opened along their unknowns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepest.models import Estimable, Lorenz63, Lorenz96, Normal, Unknown, unknown_weights

pytestmark = pytest.mark.float32
# A handful of products and sums of numbers near 10: a few eps of the largest.
RTOL = 50.0 * float(jnp.finfo(jnp.result_type(float)).eps)
NOW = jnp.zeros(())


def array(*x):
    return jnp.asarray(x, float)


def state(size, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(0.0, 5.0, size), float)


@pytest.mark.parametrize(("sigma", "rho", "beta"), [(10.0, 28.0, 8.0 / 3.0), (1.5, 0.0, -2.0)])
def test_lorenz63_is_its_formula(sigma, rho, beta):
    x, y, z = np.asarray(state(3), float)
    expected = [sigma * (y - x), x * (rho - z) - y, x * y - beta * z]
    np.testing.assert_allclose(Lorenz63(sigma, rho, beta)(NOW, state(3), None), expected, rtol=RTOL)


@pytest.mark.parametrize("dimension", [4, 5, 20])
@pytest.mark.parametrize("forcing", [8.17, "one a site"])
def test_lorenz96_is_its_formula_and_its_advection_conserves_energy(dimension, forcing):
    """x · F(x) = −Σ x² + Σ f x: the quadratic terms do no work."""
    f = np.linspace(6.0, 9.0, dimension) if forcing == "one a site" else forcing
    rate = Lorenz96(dimension, f)(NOW, state(dimension), None)
    x = np.asarray(state(dimension), float)
    for a in range(dimension):
        here = x[a - 1] * (x[(a + 1) % dimension] - x[a - 2]) - x[a] + np.broadcast_to(f, dimension)[a]
        np.testing.assert_allclose(rate[a], here, rtol=RTOL, atol=RTOL * np.abs(x).max() ** 2)
    np.testing.assert_allclose(x @ rate, np.sum(f * x - x**2), rtol=RTOL, atol=RTOL * np.abs(x).max() ** 3 * dimension)


def test_lorenz96_needs_four_sites():
    with pytest.raises(ValueError, match="at least 4; received 3"):
        Lorenz96(3)


def refusals(*rows):
    return pytest.mark.parametrize(("make", "sentence"), rows, ids=[f"{k} {row[1]}" for k, row in enumerate(rows)])


@refusals(
    (lambda: Unknown(2.0, 1.0), "lower ≤ upper"),
    (lambda: Unknown(np.nan, 1.0), "lower ≤ upper"),
    (lambda: Unknown(0.0, np.nan), "lower ≤ upper"),
    (lambda: Unknown(np.array([0.0, 3.0]), np.array([1.0, 2.0])), "lower ≤ upper"),
    (lambda: Unknown(0.0, 1.0, varies=-1.0), "volatility must be positive"),
    (lambda: Unknown(0.0, 1.0, varies=float("nan")), "volatility must be positive"),
    (lambda: Unknown(0.0, varies=True), "finite range"),
    (lambda: Normal(0.0, 0.0), "deviation must be positive"),
    (lambda: Normal(0.0, np.array([1.0, -1.0])), "deviation must be positive"),
    (lambda: Normal(0.0, np.nan), "deviation must be positive"),
    (lambda: Normal(np.nan, 1.0), "finite"),
    (lambda: Unknown(np.zeros(2), np.ones(2), prior=Normal(np.zeros(3), 1.0)), "shape"),
    (lambda: Estimable(lambda t, x, args: x), "dimension"),
    (lambda: Estimable(Lorenz63(), dimension=4), "dimension 3; received dimension=4"),
)
def test_what_cannot_be_is_said_at_once(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def leaky(t, x, args):
    """A plain function with nested arguments."""
    return args["gain"] * jnp.tanh(args["rates"]["leak"] * x) - args["rates"]["load"][0] * jnp.sin(t)


ARGS = {
    "gain": Unknown(np.array([0.0, 1.0]), np.array([2.0, 5.0])),
    "rates": {"leak": Unknown(-1.0, 1.0, prior=Normal(0.25, 0.5)), "load": [Unknown(prior=Normal(3.0, 2.0)), 7.0]},
}


def test_unknowns_are_found_in_order_wherever_they_stand():
    model = Estimable(leaky, ARGS, dimension=2)
    assert model.names == ("gain[0]", "gain[1]", "rates.leak", "rates.load.0")
    assert (model.varying_names, model.size) == ((), 2)
    lower, upper = model.bounds(varying=False)
    np.testing.assert_array_equal(lower, [0.0, 1.0, -1.0, -np.inf])
    np.testing.assert_array_equal(upper, [2.0, 5.0, 1.0, np.inf])
    mean, precision = model.prior(varying=False)
    np.testing.assert_array_equal(precision, [0.0, 0.0, 4.0, 0.25])
    np.testing.assert_array_equal(mean[2:], [0.25, 3.0])


def test_fill_puts_every_number_where_its_unknown_stood():
    values = array(1.5, 4.0, 0.5, 3.0)
    function, args = Estimable(leaky, ARGS, dimension=2).fill(values, array())
    assert function is leaky
    np.testing.assert_array_equal(args["gain"], values[:2])
    assert (float(args["rates"]["leak"]), float(args["rates"]["load"][0]), args["rates"]["load"][1]) == (0.5, 3.0, 7.0)
    x, t = array(0.3, -0.2), array(0.7)[0]
    by_hand = np.array([1.5, 4.0]) * np.tanh(0.5 * np.array([0.3, -0.2])) - 3.0 * np.sin(0.7)
    np.testing.assert_allclose(Estimable(leaky, ARGS, dimension=2)(t, x, values), by_hand, rtol=RTOL)


def test_a_filled_module_is_the_module_with_numbers():
    known, opened = Lorenz63(9.0, 20.0, 2.0), Lorenz63(Unknown(5.0, 15.0), 20.0, Unknown(0.0, 3.0))
    model = Estimable(opened)
    assert model.names == ("sigma", "beta")
    np.testing.assert_array_equal(model(NOW, state(3), array(9.0, 2.0)), known(NOW, state(3), None))
    filled, _ = model.fill(array(9.0, 2.0), array())
    assert eqx.tree_equal(filled, known)
    np.testing.assert_array_equal(Estimable(known)(NOW, state(3), array()), known(NOW, state(3), None))


def test_a_varying_unknown_is_a_state_that_does_not_move_by_itself():
    model = Estimable(Lorenz63(Unknown(5.0, 15.0), Unknown(20.0, 30.0, varies=True), Unknown(0.0, 3.0, varies=0.2)))
    assert (model.names, model.varying_names, model.size) == (("sigma",), ("rho", "beta"), 5)
    rate = model(NOW, jnp.concatenate([state(3), array(21.0, 2.0)]), array(9.0))
    np.testing.assert_array_equal(rate[:3], Lorenz63(9.0, 21.0, 2.0)(NOW, state(3), None))
    np.testing.assert_array_equal(rate[3:], np.zeros(2))
    np.testing.assert_array_equal(model.bounds(varying=True), [[20.0, 0.0], [30.0, 3.0]])
    # True crosses its range once in the window: volatility √duration = upper − lower.
    np.testing.assert_allclose(model.volatility(4.0), [10.0 / 2.0, 0.2], rtol=RTOL)


def test_drawn_starts_lie_in_range_and_repeat_with_their_key():
    model = Estimable(leaky, ARGS, dimension=2)
    draw = jax.jit(jax.vmap(lambda key: model.draw(key, varying=False)))
    starts = np.asarray(draw(jax.random.split(jax.random.key(0), 500)))
    np.testing.assert_array_equal(starts, draw(jax.random.split(jax.random.key(0), 500)))
    assert np.any(starts != draw(jax.random.split(jax.random.key(1), 500)))
    lower, upper = model.bounds(varying=False)
    assert np.all((starts >= lower) & (starts <= upper))
    # Uniform on a range, whatever its prior; from the prior without a range. Five standard errors of 500 draws.
    for column, mean, deviation in [(0, 1.0, 2 / 12**0.5), (1, 3.0, 4 / 12**0.5), (2, 0.0, 2 / 12**0.5), (3, 3.0, 2.0)]:
        assert abs(starts[:, column].mean() - mean) < 5.0 * deviation / 500**0.5
        assert abs(starts[:, column].std() / deviation - 1.0) < 5.0 / 500**0.5


@pytest.mark.parametrize("unknown", [Unknown(), Unknown(0.0), Unknown(upper=3.0)], ids=["free", "above 0", "below 3"])
def test_an_unknown_with_neither_range_nor_prior_has_no_start(unknown):
    model = Estimable(Lorenz63(rho=unknown))
    with pytest.raises(ValueError, match="unknown rho has neither a finite range nor a prior"):
        model.draw(jax.random.key(0), varying=False)


class Closed(eqx.Module):
    """A known rate, and one that a network makes of the state."""

    inside: eqx.nn.MLP
    dimension: int = eqx.field(static=True, default=2)

    def __call__(self, t, x, args):
        return jnp.stack([-x[1], self.inside(x)[0]])


def test_a_network_inside_a_model_is_filled_with_its_weights():
    inside = eqx.nn.MLP(2, 1, 3, 1, activation=jnp.tanh, key=jax.random.key(0))
    opened = Estimable(unknown_weights(Closed(inside), 0.5))
    weights = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(eqx.filter(inside, eqx.is_inexact_array))])
    assert len(opened.names) == weights.size == 13
    assert opened.names[0] == "inside.layers.0.weight[0,0]"
    np.testing.assert_allclose(opened(NOW, state(2), weights), Closed(inside)(NOW, state(2), None), rtol=RTOL)
    mean, precision = opened.prior(varying=False)
    assert (mean == 0.0).all() and (precision == 4.0).all()
    drawn = jax.vmap(lambda key: opened.draw(key, varying=False))(jax.random.split(jax.random.key(1), 1000))
    assert np.isclose(np.std(drawn), 0.5, rtol=0.02)


def test_a_module_without_weights_cannot_be_learned():
    with pytest.raises(ValueError, match="no arrays of floats in the Identity to be learned"):
        unknown_weights(eqx.nn.Identity())
