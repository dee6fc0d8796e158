"""Derivatives of the answer: an estimate, and a forecast from it, by data, precisions and known parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp
from deepest.models import Lorenz63, integrate

TIMES, AHEAD, RATIO = 0.02 * np.arange(61), 0.3, 10.0


@functools.cache
def experiment():
    """x and z of Lorenz63 in two precisions, ρ unknown and σ known, with 0.3 time units held back."""
    beyond = TIMES[-1] + 0.02 * np.arange(16)
    path = np.asarray(integrate(Lorenz63(), jnp.array([-8.0, -7.0, 27.0]), np.append(TIMES, beyond[1:])))
    noise = np.random.default_rng(1).normal(size=(61, 2)) * np.array([0.3, 1.0])
    values = path[:61][:, [0, 2]] + noise
    values[5, 1] = np.nan
    return values, path[60:]


def build(values=None):
    values = experiment()[0] if values is None else values
    observations = dp.Observations(TIMES, values, components=[0, 2], precision=np.array([4.0, 1.0]))
    model = Lorenz63(jnp.asarray(10.0), dp.Unknown(20.0, 40.0), 8.0 / 3.0)
    return dp.Action(model, observations, dp.HermiteSimpson(), model_precision=np.array([1.0, 2.0, 1.0]))


@functools.cache
def start():
    """Where all the rest begins: the minimum at a finite R_f, well below where the model would be exact."""
    members, _ = dp.climb(build(), jnp.full((1, 61, 3), 10.0).at[0, :, 0].set(0.0), jnp.full((1, 1), 28.0), ladder())
    path, parameters = build().unpack(jax.tree.map(lambda x: x[0], members.z))
    return np.asarray(path)[None], np.asarray(parameters)[None]


@pytest.fixture(autouse=True)
def begun():
    """Outside of any trace."""
    start()


def ladder():
    return dp.Ladder(1e-3, 10.0, 5)


def flow(model, state, steps=60):
    """RK4 over what was held back."""
    h = AHEAD / steps
    field = lambda x: model(jnp.zeros(()), x, None)

    def step(x, _):
        one = field(x)
        two = field(x + 0.5 * h * one)
        three = field(x + 0.5 * h * two)
        return x + h / 6.0 * (one + 2.0 * two + 2.0 * three + field(x + h * three)), None

    return jax.lax.scan(step, state, length=steps)[0]


def score(action):
    """The squared error of the forecast at the end of what was held back, and the level."""
    members, levels = dp.climb(action, *map(jnp.asarray, start()), dp.Ladder(RATIO, 2.0, 1))
    model, _ = action.estimable.fill(members.z.shared[0], jnp.zeros(0))
    return jnp.sum((flow(model, members.z.nodes[0, -1]) - experiment()[1][-1]) ** 2), levels[-1, 0]


def known(sigma):
    model, args = build().estimable.template
    return Lorenz63(sigma, model.rho, model.beta)


def changed(u):
    """The action by the values, log R_m, log R_f and the known parameter in u."""
    action = build().observe(u["values"], precision=jnp.exp(u["R_m"])).weigh(jnp.exp(u["R_f"]))
    return action.given(known(u["sigma"]))


def test_the_gradient_of_a_forecast_is_what_differences_measure():
    """By each input along a generic direction, in both modes; differences are good to h² and a minimum's 1e-6/h."""
    rng, h = np.random.default_rng(3), 3e-3
    u = {
        "values": jnp.asarray(np.nan_to_num(experiment()[0])),
        "R_m": jnp.log(jnp.array([4.0, 1.0])),
        "R_f": jnp.log(jnp.array([1.0, 2.0, 1.0])),
        "sigma": jnp.asarray(10.0),
    }
    rows = {name: np.zeros((4, *x.shape)) for name, x in u.items()}
    for k, (name, x) in enumerate(u.items()):
        rows[name][k] = rng.normal(size=x.shape)
    directions = jax.tree.map(jnp.asarray, rows)
    of = lambda u: jnp.stack(score(changed(u)))

    @jax.jit
    def compared(u):
        moved = lambda d, h: of(jax.tree.map(lambda x, v: x + h * v, u, d))
        pushed = jax.vmap(lambda d: jax.jvp(of, (u,), (d,))[1])(directions)
        differences = jax.vmap(lambda d: (moved(d, h) - moved(d, -h)) / (2.0 * h))(directions)
        return pushed, differences, jax.jacrev(of)(u)

    pushed, differences, pulled = compared(u)
    np.testing.assert_allclose(pushed, differences, rtol=1e-3)
    for k, name in enumerate(u):
        along = jnp.tensordot(pulled[name], directions[name][k], u[name].ndim)
        np.testing.assert_allclose(along, pushed[k], rtol=1e-8)
    forecast = np.asarray(pulled["values"])[0]
    assert forecast[5, 1] == 0.0 and np.all(forecast[6] != 0.0)  # a value that is missing has no influence


@pytest.mark.slow
def test_precisions_chosen_by_the_forecast_forecast_better():
    """A few steps down the gradient in log R_m; data sets side by side by vmap, and the same one by one."""
    objective = lambda u, y: score(build().observe(y, precision=jnp.exp(u)))[0]
    values = jnp.asarray(np.nan_to_num(experiment()[0]))
    batch = jnp.stack([values, values + 0.02])
    both = jax.jit(jax.vmap(jax.value_and_grad(objective), in_axes=(None, 0)))
    u, first = jnp.log(jnp.array([4.0, 1.0])), None
    for _ in range(6):
        value, slope = both(u, batch)
        first = value if first is None else first
        u = u - 0.3 * slope.mean(0) / jnp.linalg.norm(slope.mean(0))
    assert np.mean(both(u, batch)[0]) < 0.8 * np.mean(first)
    alone = jax.jit(jax.value_and_grad(objective))(u, values)
    np.testing.assert_allclose(alone[0], both(u, batch)[0][0], rtol=1e-6)


def prior(mean):
    model = Lorenz63(rho=dp.Unknown(20.0, 40.0, prior=dp.Normal(mean, 1.0)))
    return lambda action: dp.Action(model, action.observations, action.transcription)


REFUSED = {
    "values": (lambda a: a.observe(jnp.zeros((3, 2))), r"shape \(61, 2\); received \(3, 2\)"),
    "precision": (lambda a: a.observe(precision=jnp.ones(3)), r"\(2,\) or a value \(61, 2\).*received shape \(3,\)"),
    "model precision": (lambda a: a.weigh(jnp.ones(2)), r"shape \(3,\) or \(1, 3\); received \(2,\)"),
    "negative precision": (lambda a: a.observe(precision=jnp.array([1.0, -1.0])), "must not be negative"),
    "negative model precision": (lambda a: a.weigh(np.array([1.0, -1.0, 1.0])), "must be positive"),
    "model": (lambda a: a.given(Lorenz63()), "must have the structure"),
    "range": (lambda a: a.given(Lorenz63(10.0, dp.Unknown(20.0, 50.0), 8.0 / 3.0)), "ranges and priors"),
    "prior": (lambda a: prior(28.0)(a).given(*prior(30.0)(a).estimable.template), "ranges and priors"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused(kind):
    change, sentence = REFUSED[kind]
    with pytest.raises(ValueError, match=sentence):
        change(build())
