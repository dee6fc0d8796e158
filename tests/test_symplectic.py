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
COPIES = tuple(lambda order=order: Tao(order, binding=5.0) for order in (2, 4, 6, 8))
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


FAMILIES = ("ImplicitMidpoint", "GaussLegendre 2", "LobattoIIIAB 3", "Tao 4", "Galerkin 2 gauss", "Galerkin 2 lobatto")


def label(solver):
    fields = [str(v) for k, v in vars(solver).items() if isinstance(v, (int, str)) and k != "root_find_max_steps"]
    return " ".join([type(solver).__name__, *fields])


def quick(make, solver):
    """Explicit methods on one nonlinear problem, and of all others a member of each family on the annealing
    Hamiltonian; the rest, which differ by the number of stages, and are each other's by identities below, are slow."""
    if isinstance(solver, EXPLICIT):
        return make is problems.lotka_volterra
    return make is problems.annealing and label(solver) in FAMILIES


def cases(fast, wanted=lambda solver: True):
    """Every method on every problem it suits; what is not fast is a slow test."""
    return [
        pytest.param(
            make, index, id=f"{make.__name__} {label(solver)}", marks=[] if fast(make, solver) else [pytest.mark.slow]
        )
        for make in problems.ALL
        for index, (_, solver) in enumerate(methods(make()))
        if wanted(solver)
    ]


CASES = cases(quick)


def solve(terms, solver, y0, until, steps, start=0.0, **options):
    """Compiled once for every number of steps."""
    start, until = jnp.asarray(start, float), jnp.asarray(until, float)
    dt = (until - start) / jnp.asarray(steps, float)
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
    end = lambda steps: flat(solve(terms, solver, problem.y0, problem.until, steps).ys)
    counts, errors = [], []
    while len(counts) < 16 and not (errors and errors[-1] < 1e-10):
        counts.append(round(11 * 1.35 ** len(counts)))
        errors.append(float(jnp.linalg.norm(end(counts[-1]) - exact(make))))
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


def swift(make, solver):
    """What the default run repeats of reversibility."""
    repeated = ("GaussLegendre 1", "LobattoIIIAB 2")
    nested = isinstance(solver, Galerkin) or label(solver) in repeated
    return make is problems.henon_heiles and solver.order(None) < 6 and not nested


@pytest.mark.parametrize(("make", "index"), cases(swift, lambda solver: not isinstance(solver, Tao)))
def test_symmetric_methods_undo_themselves(make, index):
    """A step back with −h is the inverse of a step, and so, where H is even in p, is a step with the momenta turned
    around; with Euler's method neither is. In one copy Tao's is not symmetric, and does not say so."""
    problem = make()
    terms, solver = list(methods(problem))[index]
    go = lambda y, start, end: solve(terms, solver, y, end, 6, start=start).ys
    last = lambda y: tuple(z[-1] for z in y)
    zero, end = jnp.zeros(()), jnp.asarray(0.075 * problem.until)
    there = last(go(problem.y0, zero, end))
    back = go(there, end, zero)
    symmetric = not isinstance(solver, SymplecticEuler)
    assert getattr(solver, "symmetric", symmetric) == symmetric
    close = lambda a, b: float(jnp.max(jnp.abs(flat(a) - flat(b)))) < 1e-13
    assert close(back, problem.y0) == symmetric
    if make in (problems.pendulum, problems.kepler, problems.henon_heiles):
        x, p = last(go((there[0], -there[1]), zero, end))
        assert close((x, -p), problem.y0) == symmetric


def explicit_runge_kutta(declared: int, rows: list[list[float]], weights: list[float]) -> diffrax.AbstractERK:
    """A Runge–Kutta method that keeps no structure, for comparison."""

    class Common(diffrax.AbstractERK):
        tableau = diffrax.ButcherTableau(
            c=np.array([sum(row) for row in rows]),
            a_lower=tuple(np.array(row) for row in rows),
            b_sol=np.array(weights),
            b_error=np.array([1.0, *[0.0] * (len(weights) - 2), -1.0]),
        )
        interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

        def order(self, terms):
            return declared

    return Common()


# Butcher's method of 1964 for the sixth order.
SIX = [
    [1 / 3],
    [0.0, 2 / 3],
    [1 / 12, 1 / 3, -1 / 12],
    [-1 / 16, 9 / 8, -3 / 16, -3 / 8],
    [0.0, 9 / 8, -3 / 8, -3 / 4, 1 / 2],
    [9 / 44, -9 / 11, 63 / 44, 18 / 11, 0.0, -16 / 11],
]
DRIFTING = {
    1: diffrax.Euler(),
    2: diffrax.Heun(),
    4: explicit_runge_kutta(4, [[0.5], [0.0, 0.5], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    6: explicit_runge_kutta(6, SIX, [11 / 120, 0.0, 27 / 40, 27 / 40, -4 / 15, -4 / 15, 11 / 120]),
    8: diffrax.Dopri8(),
}
# Steps a time unit, such that the energy error of each order is well above rounding.
RATES = {1: 1000.0, 2: 100.0, 4: 50.0, 6: 10.0, 8: 5.0}


def of_a_kind(solver):
    """One method of each kind, for the problems on which not all are run."""
    kinds = (BlanesMoan4, GaussLegendre, LobattoIIIAB, Tao, Galerkin)
    return isinstance(solver, StormerVerlet) or (isinstance(solver, kinds) and solver.order(None) == 4)


@pytest.fixture(scope="module")
def drift():
    """The energy errors of the common method of each order on each problem, at every hundredth step."""
    known = {}

    def of(make, order):
        if (make, order) not in known:
            known[make, order] = energy_errors(make(), make().whole, DRIFTING[order])
        return known[make, order]

    return of


def energy_errors(problem, terms, solver):
    until = 1e5 / RATES[solver.order(None)] * problem.until / 4.0
    save = diffrax.SaveAt(ts=jnp.linspace(0.0, until, 1001))
    ys = solve(terms, solver, problem.y0, until, 100_000, saveat=save).ys
    energy = jax.vmap(lambda x, p: problem.hamiltonian(0.0, x, p))(*ys)
    return np.abs(np.asarray(energy - energy[0]))


@pytest.mark.parametrize(
    ("make", "index"),
    [
        pytest.param(
            make,
            index,
            id=f"{make.__name__} {label(solver)}",
            marks=[]
            if make is problems.henon_heiles and isinstance(solver, (StormerVerlet, BlanesMoan4))
            else [pytest.mark.slow],
        )
        for make in (problems.henon_heiles, problems.pendulum, problems.kepler, problems.lotka_volterra)
        for index, (_, solver) in enumerate(methods(make()))
        if make is problems.henon_heiles or of_a_kind(solver)
    ],
)
def test_energy_does_not_drift_in_1e5_steps(make, index, drift):
    """Its error stays within what the first part of the run shows, where that of a common method of the same order has
    gone on growing. The annealing Hamiltonian is left out: its motions leave every bound within five time units."""
    problem = make()
    terms, solver = list(methods(problem))[index]
    ours, common = energy_errors(problem, terms, solver), drift(make, solver.order(terms))
    assert np.max(ours[500:]) < 1.5 * np.max(ours[:500])
    assert np.mean(common[500:]) > 2.0 * np.mean(common[1:500])


def test_a_step_in_which_a_motion_turns_around_is_found():
    """The momentum passes zero, and the equations for it are known to the rounding of larger numbers only."""
    problem = problems.lotka_volterra()
    ends = [
        flat(solve(problem.whole, s, problem.y0, problem.until, 730).ys)
        for s in (ImplicitMidpoint(), Galerkin(problem.lagrangian))
    ]
    np.testing.assert_allclose(*ends, rtol=1e-12, atol=1e-12)


def test_midpoint_gauss_and_variational_midpoint_are_one_method():
    problem = problems.annealing()
    makes = (ImplicitMidpoint(), GaussLegendre(1), Galerkin(problem.lagrangian))
    ends = [flat(solve(problem.whole, s, problem.y0, problem.until, 40).ys) for s in makes]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("degree", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_galerkin_on_gauss_points_is_gauss_collocation(degree):
    problem = problems.annealing()
    ends = [
        flat(solve(problem.whole, s, problem.y0, problem.until, 20).ys)
        for s in (GaussLegendre(degree), Galerkin(problem.lagrangian, degree))
    ]
    np.testing.assert_allclose(*ends, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("degree", [*(pytest.param(degree, marks=pytest.mark.slow) for degree in (1, 2)), 3])
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
    problem = problems.driven()
    end = flat(solve(problem.whole, GaussLegendre(6), problem.y0, problem.until, 100).ys)
    ours = lambda steps: flat(solve(problem.halves, make(), problem.y0, problem.until, steps).ys)
    errors = [float(jnp.linalg.norm(ours(steps) - end)) for steps in (20, 40)]
    assert abs(np.log2(errors[0] / errors[1]) - make().order(None)) < 0.35


SLOW = [pytest.param(index, marks=pytest.mark.slow) for index in (7, 18)]


@pytest.mark.parametrize("index", [1, 14, *SLOW], ids=["explicit", "two copies", "implicit", "variational"])
def test_what_diffrax_offers_works(index):
    """SaveAt, dense output, vmap, reverse-mode gradients, and integration backward in time."""
    problem = problems.henon_heiles()
    terms, solver = list(methods(problem))[index]
    times = jnp.linspace(0.0, 1.0, 6)
    save = diffrax.SaveAt(ts=times, dense=True)
    solution = solve(terms, solver, problem.y0, 1.0, 200, saveat=save, max_steps=256)
    stopped = lambda t, steps: flat(solve(terms, solver, problem.y0, t, steps).ys)
    dense = np.concatenate(jax.jit(jax.vmap(solution.evaluate))(times), axis=1)
    np.testing.assert_allclose(dense, np.concatenate(solution.ys, axis=1), rtol=1e-12, atol=1e-12)
    for k in range(1, 6):
        np.testing.assert_allclose(dense[k], stopped(times[k], 40 * k), rtol=1e-9, atol=1e-9)

    def end(x, p):
        return flat(solve(terms, solver, (x, p), 1.0, 20, adjoint=diffrax.RecursiveCheckpointAdjoint(40)).ys)

    x, p = problem.y0
    cotangent, step = jnp.arange(1.0, 5.0), 1e-5 * jnp.eye(2)
    starts = jnp.concatenate([x[None], 0.5 * x[None], x[None] + step, x[None] - step])
    many = np.asarray(jax.jit(jax.vmap(end, in_axes=(0, None)))(starts, p))
    weighed = lambda x: (lambda y: (jnp.vdot(cotangent, y), y))(end(x, p))
    both = jax.jit(jax.grad(weighed, has_aux=True))
    reverse, alone = both(x)
    np.testing.assert_allclose(many[0], alone, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(many[1], both(0.5 * x)[1], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(reverse, (many[2:4] - many[4:]) @ cotangent / 2e-5, rtol=1e-7, atol=1e-8)


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
