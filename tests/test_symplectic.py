"""Order, symplecticity, reversibility, energy and identities of the symplectic solvers."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from deepest import mechanics
from deepest.symplectic import (
    BlanesMoan4,
    BlanesMoan6,
    Galerkin,
    GaussLegendre,
    ImplicitMidpoint,
    KahanLi8,
    LobattoIIIAB,
    PartitionedTableau,
    SplittingTableau,
    StormerVerlet,
    SymplecticEuler,
    Tao,
    Yoshida4,
    Yoshida6,
)

EXPLICIT = (SymplecticEuler, StormerVerlet, Yoshida4, BlanesMoan4, Yoshida6, BlanesMoan6, KahanLi8)
ANY = (
    ImplicitMidpoint,
    lambda: GaussLegendre(1),
    lambda: GaussLegendre(2),
    lambda: GaussLegendre(3),
    lambda: LobattoIIIAB(2),
    lambda: LobattoIIIAB(3),
    lambda: LobattoIIIAB(4),
)
COPIES = tuple(lambda order=order: Tao(order, binding=5.0) for order in (2, 4, 6))
VARIATIONAL = tuple(
    lambda lagrangian, degree=degree, rule=rule: Galerkin(lagrangian, degree, rule)
    for degree in (1, 2, 3)
    for rule in ("gauss", "lobatto")
)


def methods(problem):
    """(terms, solver) of every method that suits a problem."""
    explicit = EXPLICIT if problem.separable else ()
    yield from ((problem.halves, make()) for make in explicit)
    yield from ((problem.whole, make()) for make in (*ANY, *COPIES))
    yield from ((problem.whole, make(problem.lagrangian)) for make in VARIATIONAL)


def label(solver):
    fields = [str(v) for k, v in vars(solver).items() if isinstance(v, (int, str)) and k != "root_find_max_steps"]
    return " ".join([type(solver).__name__, *fields])


def quick(make, solver):
    """Explicit methods on one nonlinear problem, all others on the annealing Hamiltonian; the rest are slow tests."""
    return make is (problems.lotka_volterra if isinstance(solver, EXPLICIT) else problems.annealing)


CASES = [
    pytest.param(
        make, index, id=f"{make.__name__} {label(solver)}", marks=[] if quick(make, solver) else [pytest.mark.slow]
    )
    for make in problems.ALL
    for index, (_, solver) in enumerate(methods(make()))
]


def solve(terms, solver, y0, until, steps, start=0.0, **options):
    dt = (until - start) / steps
    return diffrax.diffeqsolve(terms, solver, start, until, dt, y0, **{"max_steps": None, **options})


def flat(y):
    return jnp.concatenate([jnp.ravel(leaf)[-leaf.shape[-1] :] for leaf in y])


@pytest.fixture(scope="module")
def exact():
    """The end of every problem's motion, by Gauss's method of order 12 with many steps."""
    known = {}

    def end(make):
        if make not in known:
            problem = make()
            known[make] = flat(solve(problem.whole, GaussLegendre(6), problem.y0, problem.until, 400).ys)
        return known[make]

    return end


@pytest.mark.parametrize(("make", "index"), CASES)
def test_the_measured_order_is_the_declared_one(make, index, exact):
    """From the finest two step sizes whose errors are above rounding; the tolerance is a third of an order."""
    problem = make()
    terms, solver = list(methods(problem))[index]
    end = eqx.filter_jit(lambda steps: flat(solve(terms, solver, problem.y0, problem.until, steps).ys))
    counts, errors = [], []
    while len(counts) < 18 and not (errors and errors[-1] < 1e-10):
        counts.append(round(6 * 1.35 ** len(counts)))
        errors.append(float(jnp.linalg.norm(end(jnp.asarray(float(counts[-1]))) - exact(make))))
    clear = [k for k, error in enumerate(errors) if error > 2e-12][-3::2]
    order = -np.subtract(*np.log([errors[k] for k in clear])) / np.subtract(*np.log([counts[k] for k in clear]))
    assert abs(order - solver.order(terms)) < 0.35


@pytest.mark.parametrize(("make", "index"), CASES)
def test_a_step_keeps_the_symplectic_form(make, index):
    """To rounding for explicit methods, Tao's in both copies; to the tolerance of the stages for implicit ones."""
    problem = make()
    terms, solver = list(methods(problem))[index]
    size, start, end = problem.y0[0].size, jnp.zeros(()), jnp.asarray(0.05)

    def once(y, state):
        return solver.step(terms, start, end, y, None, state, False)

    if isinstance(solver, Tao):
        # Canonical pairs of the extended space are (x, p) and (x̃, p̃).
        def moved(x, p):
            y, _, _, copy, _ = once((x[:size], p[:size]), (x[size:], p[size:]))
            return tuple(jnp.concatenate(z) for z in zip(y, copy, strict=True))

        y0 = tuple(jnp.concatenate([z, z + 0.01]) for z in problem.y0)
    else:
        moved = lambda x, p: once((x, p), solver.init(terms, start, end, (x, p), None))[0]
        y0 = problem.y0
    defect = jax.jit(lambda x, p: mechanics.symplectic_defect(moved, x, p))(*y0)
    assert jnp.max(jnp.abs(defect)) < 1e-12


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(
            k, id=label(s), marks=[] if s.order(None) < 6 and not isinstance(s, Galerkin) else pytest.mark.slow
        )
        for k, (_, s) in enumerate(methods(problems.henon_heiles()))
    ],
)
def test_symmetric_methods_undo_themselves(index):
    """A step back with −h is the inverse of a step, and so is a step with the momenta turned around."""
    problem = problems.henon_heiles()
    terms, solver = list(methods(problem))[index]
    there = solve(terms, solver, problem.y0, 0.3, 6).ys
    back = solve(terms, solver, tuple(z[-1] for z in there), 0.0, 6, start=0.3).ys
    turned = solve(terms, solver, (there[0][-1], -there[1][-1]), 0.3, 6).ys
    symmetric = not isinstance(solver, (SymplecticEuler, Tao))
    close = lambda a, b: float(jnp.max(jnp.abs(flat(a) - flat(b)))) < 1e-13
    assert close(back, problem.y0) == symmetric
    assert close((turned[0], -turned[1]), problem.y0) == symmetric


class RungeKutta4(diffrax.AbstractERK):
    """The classical method, for comparison."""

    tableau = diffrax.ButcherTableau(
        c=np.array([0.5, 0.5, 1.0]),
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
        b_sol=np.array([1.0, 2.0, 2.0, 1.0]) / 6.0,
        b_error=np.array([1.0, -1.0, -1.0, 1.0]),
    )
    interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms):
        return 4


DRIFTING = {2: diffrax.Heun(), 4: RungeKutta4()}


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(k, id=label(s), marks=[] if isinstance(s, (StormerVerlet, BlanesMoan4)) else [pytest.mark.slow])
        for k, (_, s) in enumerate(methods(problems.henon_heiles()))
        if s.order(None) in DRIFTING
    ],
)
def test_energy_does_not_drift_in_1e5_steps(index):
    """Its error stays within what the first part of the run shows, where that of a common method of the same order has
    gone on growing."""
    problem = problems.henon_heiles()
    terms, solver = list(methods(problem))[index]

    def errors(terms, solver):
        save = diffrax.SaveAt(ts=jnp.linspace(0.0, 1e3, 1001))
        ys = solve(terms, solver, problem.y0, 1e3, 100_000, saveat=save).ys
        energy = jax.vmap(lambda x, p: problem.hamiltonian(0.0, x, p))(*ys)
        return np.abs(np.asarray(energy - energy[0]))

    ours, common = errors(terms, solver), errors(problem.whole, DRIFTING[solver.order(None)])
    assert np.max(ours[500:]) < 1.5 * np.max(ours[:500])
    assert np.mean(common[500:]) > 2.0 * np.mean(common[1:500])


def test_midpoint_gauss_and_variational_midpoint_are_one_method():
    problem = problems.annealing()
    makes = (ImplicitMidpoint(), GaussLegendre(1), Galerkin(problem.lagrangian))
    ends = [flat(solve(problem.whole, s, problem.y0, problem.until, 40).ys) for s in makes]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("degree", [2, 3])
def test_galerkin_on_gauss_points_is_gauss_collocation(degree):
    problem = problems.annealing()
    ends = [
        flat(solve(problem.whole, s, problem.y0, problem.until, 20).ys)
        for s in (GaussLegendre(degree), Galerkin(problem.lagrangian, degree))
    ]
    np.testing.assert_allclose(*ends, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_galerkin_on_lobatto_points_is_lobatto_iiia_iiib(degree):
    """Where the kinetic energy is ½ v²; elsewhere they differ, the one having more velocities than the other."""
    problem = problems.kepler()
    ends = [
        flat(solve(problem.whole, s, problem.y0, problem.until, 20).ys)
        for s in (LobattoIIIAB(degree + 1), Galerkin(problem.lagrangian, degree, "lobatto"))
    ]
    np.testing.assert_allclose(*ends, rtol=1e-11, atol=1e-11)


def test_verlet_is_the_trapezoid_variational_integrator():
    problem = problems.kepler()
    verlet = solve(problem.halves, StormerVerlet(), problem.y0, problem.until, 100).ys
    trapezoid = solve(problem.whole, Galerkin(problem.lagrangian, 1, "lobatto"), problem.y0, problem.until, 100).ys
    np.testing.assert_allclose(flat(verlet), flat(trapezoid), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("make", [StormerVerlet, BlanesMoan4, BlanesMoan6])
def test_a_driven_oscillator_keeps_the_order(make):
    """T and V depend on time: x″ = −x + cos 2t, and mass that grows as e^{0.3 t}."""
    mass = lambda t: jnp.exp(0.3 * t)
    kinetic = lambda t, p, args: 0.5 * jnp.vdot(p, p) / mass(t)
    potential = lambda t, x, args: mass(t) * (0.5 * jnp.vdot(x, x) - jnp.sum(x) * jnp.cos(2.0 * t))
    hamiltonian = lambda t, x, p, args: kinetic(t, p, args) + potential(t, x, args)
    y0, halves = (jnp.array([1.0]), jnp.array([0.0])), mechanics.separable_terms(kinetic, potential)
    end = flat(solve(mechanics.hamilton_term(hamiltonian), GaussLegendre(6), y0, 2.0, 100).ys)
    errors = [float(jnp.linalg.norm(flat(solve(halves, make(), y0, 2.0, n).ys) - end)) for n in (20, 40)]
    assert abs(np.log2(errors[0] / errors[1]) - make().order(None)) < 0.35


@pytest.mark.parametrize("index", [1, 7, 14, 17], ids=["explicit", "implicit", "two copies", "variational"])
def test_what_diffrax_offers_works(index):
    """SaveAt, dense output, vmap, reverse-mode gradients, and integration backward in time."""
    problem = problems.henon_heiles()
    terms, solver = list(methods(problem))[index]
    times = jnp.linspace(0.0, 1.0, 6)
    save = diffrax.SaveAt(ts=times, dense=True)
    solution = solve(terms, solver, problem.y0, 1.0, 200, saveat=save, max_steps=256)
    stopped = eqx.filter_jit(lambda t, steps: flat(solve(terms, solver, problem.y0, t, steps).ys))
    for k, t in enumerate(times):
        alone = solution.evaluate(t)
        np.testing.assert_allclose(flat(alone), flat(tuple(z[k] for z in solution.ys)), rtol=1e-12, atol=1e-12)
        if k:
            np.testing.assert_allclose(flat(alone), stopped(t, jnp.asarray(40.0 * k)), rtol=1e-9, atol=1e-9)

    def end(x, p):
        return flat(solve(terms, solver, (x, p), 1.0, 20, adjoint=diffrax.RecursiveCheckpointAdjoint(40)).ys)

    x, p = problem.y0
    many = jax.vmap(end)(jnp.stack([x, 0.5 * x]), jnp.stack([p, p]))
    np.testing.assert_allclose(many[1], end(0.5 * x, p), rtol=1e-11, atol=1e-11)
    cotangent = jnp.arange(1.0, 5.0)
    reverse = jax.grad(lambda x: jnp.vdot(cotangent, end(x, p)))(x)
    step = 1e-5 * jnp.eye(2)
    differences = [jnp.vdot(cotangent, end(x + s, p) - end(x - s, p)) / 2e-5 for s in step]
    np.testing.assert_allclose(reverse, jnp.stack(differences), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("make", [StormerVerlet, KahanLi8])
def test_adaptive_steps_are_refused(make):
    problem = problems.kepler()
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-6)
    with pytest.raises(RuntimeError, match="error estimate"):
        solve(problem.halves, make(), problem.y0, 1.0, 10, stepsize_controller=controller)


@pytest.mark.float32
def test_single_precision_is_single_precision():
    """No dtype is promoted on the way, and stages are solved to single rounding."""
    problem = problems.henon_heiles()
    for terms, solver in list(methods(problem))[3:18:5]:
        ys = solve(terms, solver, problem.y0, 1.0, 20).ys
        assert all(y.dtype == jnp.result_type(float) for y in ys)
        energy = [problem.hamiltonian(0.0, *(z[-1] if z.ndim > 1 else z for z in y)) for y in (problem.y0, ys)]
        assert abs(energy[1] - energy[0]) < 2e-2


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SplittingTableau(np.array([0.5, 0.5]), np.array([1.0]), 3), "of order 2, not 3"),
        (lambda: SplittingTableau(np.array([0.5, 0.5]), np.array([1.0]), 1), "higher than 1"),
        (lambda: PartitionedTableau.paired(np.array([0.0, 1.0]), 3), "not of order 3"),
        (lambda: GaussLegendre(0), "at least one stage"),
        (lambda: LobattoIIIAB(1), "at least two stages"),
        (lambda: Tao(3), "received order=3"),
        (lambda: Tao(binding=0.0), "must be positive"),
        (lambda: Galerkin(problems.pendulum().lagrangian, 0), "degree ≥ 1"),
        (lambda: Galerkin(problems.pendulum().lagrangian, 1, "simpson"), "received degree=1, quadrature='simpson'"),
    ],
)
def test_what_does_not_exist_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_stages_that_are_not_found_end_the_solve():
    problem = problems.kepler()
    with pytest.raises(eqx.EquinoxRuntimeError, match="nonlinear solver"):
        solve(problem.whole, GaussLegendre(2, root_find_max_steps=2), problem.y0, 1.0, 4)
