"""The action against its formula, its special cases, its limits, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from deepest.action import Action
from deepest.minimise import DampedNewton
from deepest.models import Lorenz63, Lorenz96, Normal, Unknown
from deepest.paths import Grid, Observations
from deepest.transcription import Euler, HermiteSimpson, ImplicitMidpoint, RungeKutta4, Trapezoid

# Both sides are sums of the same few hundred products in another order: far below √eps.
RTOL = float(np.sqrt(jnp.finfo(jnp.result_type(float)).eps))
TIMES = np.array([0.0, 0.1, 0.3, 0.35, 0.6])
RNG = np.random.default_rng(0)
VALUES, PATH, PATH5 = (RNG.normal(size=shape) for shape in [(5, 3), (9, 3), (9, 5)])
COVARIANCE = np.array([[2.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 0.5]])
MISSING = np.where(np.arange(15).reshape(5, 3) % 4 == 1, np.nan, VALUES)
label = lambda x: f"order {x}" if isinstance(x, int) else type(x).__name__


def close(actual, desired):
    desired = np.asarray(desired)
    np.testing.assert_allclose(actual, desired, rtol=0, atol=RTOL * max(np.max(np.abs(desired), initial=0), 1e-30))


def packed(action, path=PATH, *parameters):
    return action.pack(jnp.asarray(path, float), jnp.asarray(np.array(parameters), float))


def cost(action, z, ratio=7.0):
    return jax.jit(lambda z: action.at(ratio).cost(z))(z)


def local(action, z, ratio=7.0):
    """Cost, gradient, and Hessian times a generic vector, of the exact local model and by automatic differentiation."""
    flat, at = ravel_pytree(z)
    vector = jnp.asarray(np.random.default_rng(2).normal(size=flat.size), float)
    true = lambda u: action.at(ratio).cost(at(u))

    def ours(u):
        quadratic = action.at(ratio).quadratic(at(u), True)
        return quadratic.cost, ravel_pytree(quadratic.gradient)[0], ravel_pytree(quadratic.hessian.mv(at(vector)))[0]

    return jax.jit(ours)(flat), lambda: jax.jit(lambda u: (true(u), *jax.jvp(jax.grad(true), (u,), (vector,))))(flat)


def lorenz96(x, forcing):
    return np.roll(x, 1, -1) * (np.roll(x, -1, -1) - np.roll(x, 2, -1)) - x + forcing


def defects(transcription, x, f, t):
    """Trapezoid's and Hermite-Simpson's, (K, defects, D)."""
    if isinstance(transcription, Trapezoid):
        return (x[1:] - x[:-1] - np.diff(t)[:, None] / 2 * (f[1:] + f[:-1]))[:, None]
    a, m, b, h = slice(0, -1, 2), slice(1, None, 2), slice(2, None, 2), np.diff(t[::2])[:, None]
    ends = x[b] - x[a] - h / 6 * (f[a] + 4 * f[m] + f[b])
    return np.stack([ends, x[m] - (x[a] + x[b]) / 2 - h / 8 * (f[a] - f[b])], axis=1)


@pytest.mark.float32
@pytest.mark.parametrize("transcription", [Trapezoid(), HermiteSimpson()], ids=label)
def test_the_action_is_the_sum_of_its_terms(transcription):
    """½ Σ R_m (x − y)² + ½ Σ R_f c² + priors of first state and parameter; R_f = ratio · mean R_m · shape."""
    values, noise, forcing = np.where(MISSING[:, :2] < -0.9, np.nan, MISSING[:, :2]), np.array([0.5, 2.0]), 8.5
    shape, ratio, path = np.array([1.0, 2.0, 0.5, 3.0, 1.0]), 7.0, 3.0 * PATH5
    model = Lorenz96(5, Unknown(6.0, 10.0, prior=Normal(8.0, 0.2)))
    observations = Observations(TIMES, values, components=[3, 1], noise=noise)
    options = {"steps": 2, "model_precision": shape, "initial": Normal(np.ones(5), 0.7)}
    action = Action(model, observations, transcription, **options)

    seen = np.isfinite(values)
    weight = np.where(seen, noise**-2.0, 0.0)
    measured = np.sum(weight[seen] * (path[::2, [3, 1]] - values)[seen] ** 2) / 2
    c = defects(transcription, path, lorenz96(path, forcing), Grid(TIMES).refine(2).times)
    modelled = np.sum(ratio * weight[seen].mean() * shape * c**2) / 2
    prior = np.sum(((path[0] - 1.0) / 0.7) ** 2) / 2 + ((forcing - 8.0) / 0.2) ** 2 / 2
    z = packed(action, path, forcing)
    close(jnp.stack(jax.jit(lambda z: action.at(ratio).terms(z))(z)), [measured, modelled, prior])
    close(cost(action, z), measured + modelled + prior)
    # The level that users read is 2 A over the number of measured values, the missing ones not counted.
    close(action.level(cost(action, z)), 2 * (measured + modelled + prior) / seen.sum())
    close(action.unpack(z)[0], path)


def observed(times=TIMES, values=VALUES, **options):
    error = {} if "precision" in options else {"noise": 0.5}
    return Observations(times, values, **error, **options)


PRECISION = np.linalg.inv(COVARIANCE)
SAME = {
    "a masked time = no such time": (
        observed(values=np.where(np.arange(5)[:, None] == 2, np.nan, VALUES), precision=PRECISION),
        observed(np.delete(TIMES, 2), np.delete(VALUES, 2, 0), precision=PRECISION),
    ),
    "masked components = fewer components": (
        observed(values=np.where(np.arange(3) < 2, np.nan, VALUES), precision=PRECISION),
        observed(values=VALUES[:, 2:], components=[2], precision=1 / COVARIANCE[2, 2]),
    ),
    "an operator that selects = components": (
        observed(values=MISSING[:, :2], operator=lambda x: x[jnp.array([2, 0])]),
        observed(values=MISSING[:, :2], components=[2, 0]),
    ),
    "a diagonal matrix = a vector": (
        observed(values=MISSING, precision=np.diag([1.0, 2.0, 3.0])),
        observed(values=MISSING, precision=np.array([1.0, 2.0, 3.0])),
    ),
}


@pytest.mark.float32
@pytest.mark.parametrize("name", SAME)
def test_two_ways_to_say_the_same_give_the_same_action(name):
    """Cost, gradient and Hessian; R_f/R_m counts from the mean R_m, so the ratio is set to the same R_f."""
    sides = []
    for observations in SAME[name]:
        action = Action(Lorenz63(rho=Unknown(0.0, 50.0)), observations, Euler(), grid=Grid(TIMES).refine(2))
        sides.append(local(action, packed(action, PATH, 28.0), ratio=7.0 / observations.reference_precision)[0])
    for one, other in zip(*sides, strict=True):
        close(one, other)


def three_unknowns(varies=False):
    return Lorenz63(Unknown(5.0, 15.0, varies=varies), Unknown(20.0, 30.0, prior=Normal(28.0, 0.5)), Unknown(0.0, 3.0))


LOCAL = {
    "components": (False, Trapezoid(), {}),
    "full matrix, varying unknown": (0.3, HermiteSimpson(), {"precision": PRECISION}),
    "linear operator": (False, ImplicitMidpoint(), {"operator": lambda x: 2.0 * x + x[:1], "precision": PRECISION}),
    "nonlinear operator": (False, Trapezoid(), {"operator": lambda x: x**3 + x[0] * x[1]}),
}


@pytest.mark.float32
@pytest.mark.parametrize("name", LOCAL)
def test_the_exact_local_model_is_what_automatic_differentiation_gives(name):
    """With missing values, and priors of the first state and of a parameter."""
    varies, transcription, options = LOCAL[name]
    observations, initial = observed(values=MISSING, **options), Normal(np.arange(3.0), 0.5)
    action = Action(three_unknowns(varies), observations, transcription, steps=2, initial=initial)
    varying = action.estimable.size - 3
    path = np.concatenate([PATH, 10.0 + PATH[:, :varying]], axis=1)
    z = packed(action, path, *[9.0, 27.0, 2.0][varying:])
    ours, automatic = local(action, z)
    for one, other in zip(ours, automatic(), strict=True):
        close(one, other)


@pytest.mark.float32
def test_an_operator_is_given_the_models_state_without_the_varying_unknowns():
    observations = observed(values=VALUES[:, :1], operator=lambda x: jnp.sum(x, keepdims=True))
    constant, varying = (Action(three_unknowns(varies), observations, Euler()) for varies in (False, 0.3))
    path = np.concatenate([PATH[:5], 9.0 * np.ones((5, 1))], axis=1)
    close(cost(varying, packed(varying, path, 27.0, 2.0)), cost(constant, packed(constant, PATH[:5], 9.0, 27.0, 2.0)))


@pytest.mark.float32
@pytest.mark.parametrize("transcription", [Trapezoid(), HermiteSimpson()], ids=label)
@pytest.mark.parametrize("times", [TIMES, np.linspace(0.0, 1.0, 5)], ids=["irregular", "regular"])
def test_the_continuum_convention_is_the_interval_convention_over_the_step(transcription, times):
    h = np.repeat(np.diff(times) / 2, 2) if transcription.stride == 1 else np.diff(times)
    for shape in (np.ones(3), np.arange(1.0, 4.0), PRECISION):
        each = shape / h.reshape(-1, *[1] * shape.ndim)
        options = {"model_precision": shape, "convention": "continuum"}, {"model_precision": each}
        actions = [Action(Lorenz63(), observed(times), transcription, steps=2, **option) for option in options]
        close(*(cost(action, packed(action)) for action in actions))


@pytest.mark.parametrize(
    ("transcription", "order"),
    [(Euler(), 1), (RungeKutta4(), 1), (Trapezoid(), 2), (ImplicitMidpoint(), 2), (HermiteSimpson(), 2)],
    ids=label,
)
def test_refining_the_grid_keeps_the_continuum_action(transcription, order):
    """½ ∫ wᵀ w dt with w = dx/dt − F of a path that is no solution: c²/h is ∫ w² over the interval up to the mean's
    square against the square's mean, second order, for defects centred in the interval; else first."""
    x = lambda t: np.stack([np.sin(3 * t), np.cos(2 * t), t**2], axis=-1)
    slope = lambda t: np.stack([3 * np.cos(3 * t), -2 * np.sin(2 * t), 2 * t], axis=-1)
    field = lambda x: np.stack([x[:, 1] - x[:, 0], x[:, 0] * (1 - x[:, 2]) - x[:, 1], x[:, 0] * x[:, 1] - x[:, 2]], -1)
    node, weight = np.polynomial.legendre.leggauss(40)
    w = slope((node + 1) / 2) - field(x((node + 1) / 2))
    exact, ends, errors = np.sum(weight[:, None] * w**2) / 4, np.array([0.0, 1.0]), []
    for steps in (16, 32, 64):
        observations = Observations(ends, np.zeros((2, 3)), noise=1.0)
        action = Action(Lorenz63(1.0, 1.0, 1.0), observations, transcription, steps=steps, convention="continuum")
        term = jax.jit(lambda z, action=action: action.at(1.0).terms(z)[1])
        errors.append(abs(float(term(packed(action, x(action.grid.times)))) - exact))
    assert np.all(np.abs(np.diff(np.log2(errors)) + order) < 0.35)


def test_an_unknown_that_hardly_varies_is_a_constant_one():
    """Both minimised to rounding; what is left is of the order of volatility² times the gradient along the path."""
    times = np.linspace(0.0, 2.0, 11)
    values = np.exp(-1.3 * times)[:, None] + 0.1 * np.cos(9 * times)[:, None]
    found = []
    for varies in (False, 1e-5):
        args = Unknown(0.1, 5.0, varies=varies)
        action = Action(lambda t, x, a: -a * x, observed(times, values), Trapezoid(), args=args, dimension=1)
        start = np.concatenate([values, np.ones((11, int(bool(varies))))], axis=1)
        z = packed(action, start, *([] if varies else [1.0]))
        end = jax.jit(lambda z, action=action: DampedNewton().minimise(action.at(100.0), z, tolerance=1e-14))(z)
        path, rate = action.unpack(end.z)
        found.append((path[:, :1], path[:, 1] if varies else jnp.tile(rate, 11), end.cost))
    for constant, varying in zip(*found, strict=True):
        np.testing.assert_allclose(varying, constant, rtol=1e-6)


def build(model=None, rule=None, at=slice(None), measure=None, **options):
    observations = lambda: Observations(TIMES[at], VALUES[at], noise=0.5, **(measure or {}))
    return lambda: Action(model or Lorenz63(), observations(), rule or Euler(), **options)


CLOSE = TIMES + np.array([0.0, 0.0, -0.199999, 0.0, 0.0])  # two times at one grid point
INDEFINITE, SKEW = np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]]), np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]])
plain = lambda function: build(function, dimension=3)
REFUSED = [
    (build(measure={"components": [0, 1, 3]}), "between 0 and 2.*received 3"),
    (build(lambda t, x, args: x), "dimension is not known"),
    (plain(lambda t, x, args: x[:2]), r"return dx/dt of shape \(3,\).*returned \(2,\)"),
    (plain(lambda t, x, args: (x, x)), r"returned tuple"),
    (plain(lambda t, x, args: x.astype(jnp.float16)), "keep the dtype float.*returned float16"),
    (build(measure={"operator": lambda x: x[:2]}), r"operator must return shape \(3,\).*returned \(2,\)"),
    (build(measure={"operator": lambda x: x.astype(jnp.float16)}), "operator.*dtype"),
    (build(rule=HermiteSimpson(), at=slice(4)), "multiple of 2; received 3 steps"),
    (build(rule=HermiteSimpson()), "evenly spaced; time .* is not midway"),
    (build(steps=2, grid=TIMES), "one of steps=, step= and grid="),
    (build(grid=np.linspace(0.2, 0.6, 4)), "must lie on the grid.*spans all of them"),
    (lambda: Action(Lorenz63(), observed(CLOSE), Euler(), grid=np.delete(CLOSE, 2)), "same grid point"),
    (build(model_precision=np.array([1.0, 0.0, 1.0])), "model precision must be positive"),
    (build(model_precision=np.nan), "model precision must be finite"),
    (build(model_precision=np.ones(4)), r"model precision must be.*received shape \(4,\)"),
    (build(model_precision=SKEW), "symmetric and positive definite"),
    (build(model_precision=INDEFINITE), "symmetric and positive definite"),
    (build(at=slice(4), model_precision=np.eye(3) + 0.1), r"\(3, 3\)"),
    (build(bounds=(np.zeros(3), np.array([1.0, np.nan, 1.0]))), "lower ≤ upper; component 1"),
    (build(bounds=(np.zeros(2), np.ones(2))), r"scalars or have shape \(3,\)"),
    (build(initial=Normal(np.zeros(2), 1.0)), r"initial.*\(3,\)"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[f"{k} {row[1]}" for k, row in enumerate(REFUSED)])
def test_what_does_not_fit_is_said_before_anything_compiles(make, sentence, caplog):
    with jax.log_compiles(), pytest.raises(ValueError, match=sentence):
        make()
    assert not [record for record in caplog.records if "ompil" in record.getMessage()]
