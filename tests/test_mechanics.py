"""Mechanics against its identities and against closed forms."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import deepest as dp
from deepest import mechanics

TIMES = np.linspace(0.0, 1.0, 6)
RNG = np.random.default_rng(1)
VALUES = RNG.normal(size=(6, 2))
X, V, P = (jnp.asarray(z, float) for z in ([1.0, 2.0, 20.0], [0.3, 0.2, -1.0], [0.5, -1.0, 2.0]))
T = jnp.asarray(0.33, float)
FULL = np.array([[2.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 0.5]])
PRECISIONS = [4.0, np.array([1.0, 2.0, 3.0]), FULL]
RTOL = 1e3 * float(jnp.finfo(jnp.result_type(float)).eps)


def close(actual, desired, rtol=RTOL):
    desired = np.asarray(desired)
    np.testing.assert_allclose(actual, desired, rtol=0, atol=rtol * max(np.max(np.abs(desired), initial=0.0), 1.0))


def field(t, x, args=None):
    return dp.models.Lorenz63()(t, x, args)


def tracking(values=VALUES, **options):
    return mechanics.Tracking(dp.Observations(TIMES, values, components=(0, 2), noise=0.5, **options))


def model_error(precision=4.0):
    return mechanics.ModelError(dp.models.Lorenz63(), precision, tracking())


def relativistic(t, x, v, args=None):
    """Not quadratic in v: p = v/√(1 − v²)."""
    return -jnp.sqrt(1.0 - jnp.vdot(v, v)) - 0.5 * jnp.vdot(x, x)


@pytest.mark.float32
@pytest.mark.parametrize("precision", PRECISIONS, ids=["scalar", "diagonal", "matrix"])
def test_the_model_errors_mechanics_is_what_the_paper_writes(precision):
    """p = R_f (v − F), H = ½ pᵀ R_f⁻¹ p + p · F − C, dx/dt = F + R_f⁻¹ p, dp/dt = −DFᵀ p + ∂C/∂x."""
    lagrangian = model_error(precision)
    matrix = precision if np.ndim(precision) == 2 else np.diag(np.broadcast_to(precision, 3))
    matrix = jnp.asarray(matrix, float)
    drift, slope = field(T, X), jax.jacfwd(lambda x: field(T, x))(X)
    cost = tracking()
    close(mechanics.momentum(lagrangian, T, X, V), matrix @ (V - drift))
    hamiltonian = mechanics.Legendre(lagrangian)
    inverse = jnp.linalg.inv(matrix)
    close(hamiltonian(T, X, P), 0.5 * P @ inverse @ P + P @ drift - cost(T, X))
    rates = mechanics.hamilton(hamiltonian, T, X, P)
    close(rates[0], drift + inverse @ P)
    close(rates[1], -slope.T @ P + jax.grad(cost, argnums=1)(T, X))


@pytest.mark.float32
@pytest.mark.parametrize(
    "make",
    [model_error, lambda: mechanics.Quadratic(model_error()), lambda: eqx.Partial(model_error())],
    ids=["closed form", "quadratic", "Newton"],
)
def test_legendre_is_its_own_inverse(make):
    """In closed form, from the quadratic's two derivatives, and by Newton's method."""
    lagrangian = make()
    again = mechanics.InverseLegendre(mechanics.Legendre(lagrangian))
    there_and_back = lambda *at: mechanics.velocity(lagrangian, *at, mechanics.momentum(lagrangian, *at, V))
    v, value = jax.jit(lambda t, x: (there_and_back(t, x), again(t, x, V)))(T, X)
    close(v, V)
    close(value, lagrangian(T, X, V))


@pytest.mark.float32
def test_a_lagrangian_that_is_not_quadratic():
    """H = √(1 + p²) + ½ x² and v = p/√(1 + p²) of relativistic motion, with derivatives to second order."""
    exact = lambda p: p / jnp.sqrt(1.0 + jnp.vdot(p, p))
    found = lambda p: mechanics.velocity(relativistic, T, X, p)
    energy = lambda p: mechanics.Legendre(relativistic)(T, X, p)
    each = jax.jit(lambda p: (found(p), jax.jacfwd(found)(p), jax.jacrev(found)(p), energy(p), jax.hessian(energy)(p)))
    v, forward, reverse, value, hessian = each(P)
    slope = jax.jit(jax.jacfwd(exact))(P)
    close(v, exact(P))
    close(forward, slope)
    close(reverse, slope)
    close(value, jnp.sqrt(1.0 + jnp.vdot(P, P)) + 0.5 * jnp.vdot(X, X))
    close(hessian, slope)


@pytest.mark.float32
@pytest.mark.parametrize("lagrangian", [model_error(), relativistic], ids=["model error", "relativistic"])
def test_the_acceleration_annuls_the_euler_lagrange_residual(lagrangian):
    v = 0.3 * V
    a = mechanics.acceleration(lagrangian, T, X, v)
    scale = float(jnp.max(jnp.abs(mechanics.mass(lagrangian, T, X, v) @ a)))
    residual = mechanics.residual(lagrangian, T, X, v, a)
    assert jnp.max(jnp.abs(residual)) < RTOL * max(scale, 1.0)


def test_the_euler_lagrange_equation_of_the_model_error():
    """R_f [ d/dt (v − F) + DFᵀ (v − F) ] = Dhᵀ R_m (h(x) − y)."""
    matrix, lagrangian, a = jnp.asarray(FULL), model_error(FULL), jnp.array([0.2, -1.0, 0.4])
    slope = jax.jacfwd(lambda x: field(T, x))(X)
    gap = V - field(T, X)
    desired = matrix @ (a - slope @ V) + slope.T @ matrix @ gap - jax.grad(tracking(), argnums=1)(T, X)
    close(mechanics.residual(lagrangian, T, X, V, a), desired)


def test_forward_euler_lagrange_and_hamilton_are_one_motion():
    """In any diffrax solver, from the same start."""
    lagrangian = model_error()
    p = mechanics.momentum(lagrangian, jnp.zeros(()), X, V)
    options = {"stepsize_controller": diffrax.PIDController(rtol=1e-10, atol=1e-10), "max_steps": 10_000}
    run = lambda term, y0: diffrax.diffeqsolve(term, diffrax.Dopri8(), 0.0, 0.4, 1e-3, y0, **options).ys
    x, v = (z[-1] for z in run(mechanics.euler_lagrange_term(lagrangian), (X, V)))
    x_again, p = (z[-1] for z in run(mechanics.hamilton_term(mechanics.Legendre(lagrangian)), (X, p)))
    close(x_again, x, 1e-6)
    close(p, mechanics.momentum(lagrangian, jnp.asarray(0.4), x, v), 1e-5)


def test_poisson_brackets():
    """{x_i, p_j} = δ_ij, antisymmetry, Leibniz, Jacobi, and df/dt = {f, H} + ∂f/∂t."""
    f = lambda t, x, p, args=None: jnp.sum(x**2 * p) + t * x[0]
    g = lambda t, x, p, args=None: jnp.sin(x[0]) * p[1] + x[2] * p[2] ** 2
    h = mechanics.Legendre(model_error())
    bracket, at = mechanics.poisson_bracket, (T, X, P)
    for i in range(3):
        for j in range(3):
            x_i, p_j = (lambda t, x, p, args=None: x[i]), (lambda t, x, p, args=None: p[j])  # noqa: B023
            close(bracket(x_i, p_j)(*at), float(i == j))
    close(bracket(f, g)(*at), -bracket(g, f)(*at))
    product = lambda t, x, p, args=None: g(t, x, p) * h(t, x, p)
    close(bracket(f, product)(*at), bracket(f, g)(*at) * h(*at) + g(*at) * bracket(f, h)(*at))
    cyclic = [bracket(a, bracket(b, c))(*at) for a, b, c in ((f, g, h), (g, h, f), (h, f, g))]
    assert abs(sum(cyclic)) < 1e-10 * max(abs(c) for c in cyclic)
    rates = mechanics.hamilton(h, *at)
    along = jax.jvp(lambda t, x, p: f(t, x, p), at, (jnp.ones(()), *rates))[1]
    close(along, bracket(f, h)(*at) + jax.grad(f)(*at))


TURN = mechanics.Symmetry(lambda t, x: jnp.stack([-x[1], x[0]]))
BOOST = mechanics.Symmetry(lambda t, x: t * jnp.ones_like(x), gauge=lambda t, x: jnp.sum(x))
LATER = mechanics.Symmetry(lambda t, x: jnp.zeros_like(x), delay=lambda t, x: jnp.ones_like(t))
free = lambda t, x, v, args=None: 0.5 * jnp.vdot(v, v)
spring = lambda t, x, v, args=None: free(t, x, v) - 0.5 * jnp.vdot(x, x)


@pytest.mark.parametrize(
    ("lagrangian", "symmetry", "kept"),
    [
        (problems.kepler().lagrangian, TURN, lambda t, x, v: x[0] * v[1] - x[1] * v[0]),
        (problems.kepler().lagrangian, LATER, lambda t, x, v: 1.0 / jnp.sqrt(jnp.vdot(x, x)) - 0.5 * jnp.vdot(v, v)),
        (free, BOOST, lambda t, x, v: jnp.sum(t * v - x)),
    ],
    ids=["angular momentum", "energy", "centre of mass"],
)
def test_noethers_quantities(lagrangian, symmetry, kept):
    """The variation vanishes, the quantity is the known one, and its rate along a motion is zero."""
    x, v = X[:2], V[:2]
    close(mechanics.variation(lagrangian, symmetry, T, x, v), 0.0)
    close(mechanics.noether(lagrangian, symmetry, T, x, v), kept(T, x, v))
    motion = (jnp.ones(()), v, mechanics.acceleration(lagrangian, T, x, v))
    close(jax.jvp(lambda *at: mechanics.noether(lagrangian, symmetry, *at), (T, x, v), motion)[1], 0.0)


def test_what_is_no_symmetry_varies():
    """A spring to the origin is not the same when boosted: dQ/dt equals the variation."""
    x, v = X[:2], V[:2]
    varies = mechanics.variation(spring, BOOST, T, x, v)
    motion = (jnp.ones(()), v, mechanics.acceleration(spring, T, x, v))
    rate = jax.jvp(lambda *at: mechanics.noether(spring, BOOST, *at), (T, x, v), motion)[1]
    assert abs(varies) > 0.1
    close(rate, varies)


def test_the_symplectic_defect_tells_maps_apart():
    flow = lambda x, p: (x * jnp.cos(0.7) + p * jnp.sin(0.7), p * jnp.cos(0.7) - x * jnp.sin(0.7))
    close(mechanics.symplectic_defect(flow, X, P), np.zeros((6, 6)))
    grown = mechanics.symplectic_defect(lambda x, p: (2.0 * x, p), X, P)
    close(grown, mechanics.symplectic_form(3))


def test_the_running_cost_sums_to_the_actions_measurement_term():
    """Its trapezoid sum on the times is ½ Σ_k R_m (h(x) − y)², with missing values and full matrices too."""
    path = jnp.asarray(RNG.normal(size=(6, 3)))
    gaps = np.where(np.arange(12).reshape(6, 2) % 5 == 1, np.nan, VALUES)
    matrix = np.array([[2.0, 0.4], [0.4, 1.0]])
    for observations in (
        dp.Observations(TIMES, gaps, components=(0, 2), noise=0.5),
        dp.Observations(TIMES, gaps, components=(0, 2), precision=np.broadcast_to(matrix, (6, 2, 2))),
    ):
        cost = mechanics.Tracking(observations)
        rates = np.array([cost(jnp.asarray(t), x) for t, x in zip(TIMES, path, strict=True)])
        gap = np.asarray(path[:, [0, 2]]) - observations.values
        weight = observations.weight
        weighed = weight * gap if weight.ndim == 2 else np.einsum("kij,kj->ki", weight, gap)
        close(np.trapezoid(rates, TIMES), 0.5 * np.sum(gap * weighed), 1e-12)


def test_the_action_is_the_integral_of_the_lagrangian():
    """In the continuum convention, to second order in the step with the trapezoid rule."""
    observations = dp.Observations(TIMES, VALUES, components=(0, 2), noise=0.5)
    path = lambda t: jnp.stack([1.0 + jnp.sin(t), 2.0 - t**2, 20.0 + jnp.cos(2.0 * t)])
    model, ratio = dp.models.Lorenz63(), 3.0
    lagrangian = mechanics.ModelError(model, ratio * 4.0)
    fine = jnp.linspace(0.0, 1.0, 4001)
    density = lambda t: lagrangian(t, path(t), jax.jacfwd(path)(t))
    exact = jax.jit(lambda times: jnp.trapezoid(jax.vmap(density)(times), times))(fine)
    errors = []
    for steps in (8, 16):
        action = dp.Action(model, observations, dp.Trapezoid(), steps=steps, convention="continuum")
        z = action.pack(jax.vmap(path)(jnp.asarray(action.grid.times)), jnp.zeros(0))
        modelled = jax.jit(lambda z, action=action: action.at(ratio).terms(z)[1])(z)
        errors.append(float(abs(modelled - exact)))
    assert abs(np.log2(errors[0] / errors[1]) - 2.0) < 0.1


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: mechanics.ModelError(field, np.array([1.0, 0.0, 1.0])), "positive definite"),
        (lambda: mechanics.ModelError(field, np.array([[1.0, 2.0], [0.0, 1.0]])), "symmetric"),
        (lambda: mechanics.ModelError(field, np.ones((2, 3))), "received shape"),
    ],
)
def test_what_has_no_mechanics_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("function", [mechanics.velocity, mechanics.acceleration])
def test_a_singular_mass_matrix_is_an_error(function):
    linear = lambda t, x, v, args=None: jnp.vdot(x, v) - 0.5 * jnp.vdot(x, x)
    with pytest.raises(eqx.EquinoxRuntimeError, match="no Hamiltonian"):
        function(linear, T, X, P)
