"""The adjoints for diffrax: equality with automatic differentiation, memory, refusals."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
from fields import EXPLICIT, Field, agree, given, mostly_slow, score

from deepest import mechanics
from deepest.costate import ReversibleAdjoint, SymplecticAdjoint
from deepest.symplectic import (
    BlanesMoan4,
    BlanesMoan6,
    GaussLegendre,
    KahanLi8,
    StormerVerlet,
    SymplecticEuler,
    Yoshida4,
)

SAVES = {
    "t1": diffrax.SaveAt(t1=True),
    "ts": diffrax.SaveAt(t0=True, ts=np.array([0.0, 0.11, 0.13, 0.6, 0.98]), t1=True),
    "steps": diffrax.SaveAt(t0=True, steps=True, t1=True),
    "some": diffrax.SaveAt(ts=np.array([0.05, 0.07, 0.35, 0.5]), steps=3, t1=True),
    "fn": diffrax.SaveAt(steps=2, fn=lambda t, y, args: t * y * args),
    "subs": diffrax.SaveAt(subs={"a": diffrax.SubSaveAt(t1=True), "b": [diffrax.SubSaveAt(ts=np.array([0.3]))]}),
}


@eqx.filter_jit
@eqx.filter_value_and_grad
def solved(what, adjoint, solver, saveat=SAVES["t1"], t0=0.0, t1=0.98, dt0=0.07, term=diffrax.ODETerm, **options):
    field, y0, args = what
    options = {"max_steps": 20, **options}
    return score(
        diffrax.diffeqsolve(term(field), solver, t0, t1, dt0, y0, args, saveat=saveat, adjoint=adjoint, **options).ys
    )


AUTO = diffrax.RecursiveCheckpointAdjoint()


@pytest.mark.parametrize("solver", mostly_slow((diffrax.Euler, diffrax.Tsit5), EXPLICIT))
def test_the_gradient_is_that_of_the_steps(solver):
    """By y0, args and the field's weights, through times on and off the nodes, by what is dense output of each."""
    ours, theirs = (solved(given(), adjoint, solver(), SAVES["ts"]) for adjoint in (SymplecticAdjoint(), AUTO))
    assert ours[0] == theirs[0]
    assert agree(ours, theirs)


@pytest.mark.parametrize("name", mostly_slow(("some",), SAVES))
@pytest.mark.parametrize("solver", mostly_slow((diffrax.Midpoint,), EXPLICIT))
def test_the_gradient_passes_through_everything_saved(solver, name):
    ours, theirs = (solved(given(), adjoint, solver(), SAVES[name]) for adjoint in (SymplecticAdjoint(), AUTO))
    assert agree(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("solver", EXPLICIT)
def test_the_gradient_is_that_of_differentiating_directly(solver):
    ours, theirs = (solved(given(), adjoint, solver()) for adjoint in (SymplecticAdjoint(), diffrax.DirectAdjoint()))
    assert agree(ours, theirs)


@pytest.mark.float32
@pytest.mark.parametrize("checkpoints", mostly_slow((3,), (1, 3, 1000)))
def test_the_number_of_checkpoints_does_not_matter(checkpoints):
    """14 steps, in one segment, in some, in fourteen. The bound is a hundred roundings."""
    ours = solved(given(), SymplecticAdjoint(checkpoints), diffrax.Heun())
    bound = 100.0 * float(jnp.finfo(jnp.result_type(float)).eps)
    assert agree(ours, solved(given(), AUTO, diffrax.Heun()), bound)


GRIDS = {
    "backward": {"t0": 0.98, "t1": 0.0, "dt0": -0.07, "saveat": diffrax.SaveAt(ts=np.array([0.9, 0.33, 0.0]))},
    "uneven": {"dt0": 0.0912, "saveat": SAVES["steps"]},
    "StepTo": {"dt0": None, "stepsize_controller": diffrax.StepTo(np.array([0.0, 0.1, 0.5, 0.98])), "max_steps": None},
    "no step": {"t1": 0.0, "saveat": SAVES["t1"]},
    "control": {"term": lambda field: diffrax.ControlTerm(Columns(field), Wave())},
    "room to spare": {"max_steps": 4096},
}


@pytest.mark.parametrize("name", mostly_slow(("StepTo",), GRIDS))
def test_the_gradient_on_other_grids(name):
    options = GRIDS[name]
    ours = solved(given(), SymplecticAdjoint(), diffrax.Bosh3(), **options)
    theirs = solved(given(), AUTO, diffrax.Bosh3(), **{**options, "max_steps": options.get("max_steps", 20) or 20})
    assert ours[0] == theirs[0]
    assert agree(ours, theirs)


class Columns(eqx.Module):
    """A field as a matrix of one column, for a control of one number."""

    field: Field

    def __call__(self, t, y, args):
        return self.field(t, y, args)[:, None]


class Wave(diffrax.AbstractPath):
    """A control sin 3t."""

    t0, t1 = 0.0, 1.0

    def evaluate(self, t0, t1=None, left=True):
        return jnp.sin(3.0 * t1)[None] - jnp.sin(3.0 * t0)[None]


def test_members_under_vmap_are_members_alone():
    """With initial states, and with step sizes and so numbers of steps, of their own."""
    field, y0, args = given()
    starts, sizes = jnp.stack([y0, 2.0 * y0]), jnp.array([0.07, 0.1])
    run = lambda y, dt0: solved((field, y, args), SymplecticAdjoint(), diffrax.Heun(), dt0=dt0)
    together = eqx.filter_vmap(run)(starts, sizes)
    for k in range(2):
        each = jax.tree.map(lambda leaf, k=k: leaf[k], eqx.filter(together, eqx.is_array))
        assert agree(each, run(starts[k], sizes[k]))


def test_what_is_not_differentiated_has_no_derivative():
    """Only y0 is: the weights are constants then."""
    field, y0, args = given()
    term, adjoint = diffrax.ODETerm(field), SymplecticAdjoint()
    solve = lambda y: diffrax.diffeqsolve(term, diffrax.Heun(), 0.0, 0.98, 0.07, y, args, adjoint=adjoint, max_steps=20)
    alone = jax.jit(jax.grad(lambda y: score(solve(y).ys)))(y0)
    assert agree(alone, solved(given(), adjoint, diffrax.Heun())[1][1])


# ---- Refusals ----


def implicit():
    return diffrax.Kvaerno3(root_finder=diffrax.VeryChord(rtol=1e-6, atol=1e-6))


NOISE = diffrax.UnsafeBrownianPath((3,), jax.random.key(0))


@pytest.mark.parametrize(
    ("sentence", "options"),
    [
        ("expects an explicit Runge–Kutta solver .* received Kvaerno3", {"solver": implicit}),
        ("expects an explicit Runge–Kutta solver .* received ReversibleHeun", {"solver": diffrax.ReversibleHeun}),
        ("received PIDController", {"stepsize_controller": diffrax.PIDController(rtol=1e-3, atol=1e-3)}),
        ("number as max_steps", {"max_steps": None}),
        ("dense=True", {"saveat": diffrax.SaveAt(dense=True)}),
        ("solver_state=True", {"saveat": diffrax.SaveAt(t1=True, solver_state=True)}),
        ("without a solver state", {"solver_state": (True, jnp.zeros(3)), "solver": diffrax.Tsit5}),
        ("without an event", {"event": diffrax.Event(lambda t, y, args, **_: y[0] > 9.0)}),
        ("Brownian path", {"term": lambda f: diffrax.ControlTerm(lambda t, y, a: jnp.eye(3), NOISE)}),
    ],
)
@pytest.mark.filterwarnings("ignore:`Heun` is not marked")
def test_what_is_refused_is_said_in_one_sentence(sentence, options):
    options = dict(options)
    solver = options.pop("solver", diffrax.Heun)
    with pytest.raises(ValueError, match=sentence):
        solved(given(), SymplecticAdjoint(), solver(), **options)


@pytest.mark.parametrize("solver", [SymplecticEuler(), GaussLegendre(1), diffrax.Tsit5()])
def test_what_cannot_be_stepped_back_is_refused(solver):
    with pytest.raises(ValueError, match=f"symmetric, such as StormerVerlet; received {type(solver).__name__}"):
        ReversibleAdjoint().check(solver)


@pytest.mark.parametrize("name", ["t0", "t1", "dt0"])
def test_a_derivative_by_time_is_refused(name):
    value = {"t0": 0.0, "t1": 0.98, "dt0": 0.07}[name]
    run = lambda time: solved(given(), SymplecticAdjoint(), diffrax.Heun(), **{name: time})[0]
    with pytest.raises(ValueError, match="received a derivative by t0, t1, dt0"):
        jax.grad(run)(jnp.asarray(value))


def test_a_checkpoint_is_needed():
    with pytest.raises(ValueError, match="received checkpoints=0"):
        SymplecticAdjoint(checkpoints=0)


# ---- Memory ----


def temporary(adjoint, steps, size=64):
    """Bytes that the compiled gradient needs beside what it is given and gives."""
    weights = jnp.eye(size)

    def run(weights, y0):
        term = diffrax.ODETerm(lambda t, y, args: jnp.tanh(args @ y))
        solution = diffrax.diffeqsolve(
            term, diffrax.Bosh3(), 0.0, 1.0, 1.0 / steps, y0, weights, adjoint=adjoint, max_steps=steps
        )
        return jnp.sum(solution.ys)

    lowered = jax.jit(jax.grad(run)).lower(weights, jnp.ones(size))
    return lowered.compile().memory_analysis().temp_size_in_bytes


def test_memory_grows_with_the_checkpoints():
    """By √N where nothing is said; by one state a checkpoint, and neither by steps nor by stages, otherwise."""
    state = 64 * 8
    few, many = temporary(SymplecticAdjoint(), 100), temporary(SymplecticAdjoint(), 10_000)
    # 2 √N states, of 64 numbers each, with a few numbers of time beside each.
    assert many - few < 1.25 * (2 * 100 - 2 * 10) * state
    every = temporary(SymplecticAdjoint(10_000), 10_000) - temporary(SymplecticAdjoint(100), 100)
    assert 0.9 < every / (9_900 * state) < 1.25


# ---- Stepping back ----


def half(t, p, args):
    return 0.5 * args[0] * jnp.vdot(p, p)


def hill(t, x, args):
    return args[1] * (0.5 * jnp.vdot(x, x) + x[0] ** 2 * x[1] - x[1] ** 3 / 3.0) + 0.1 * jnp.sin(0.3 * t) * x[0]


@eqx.filter_jit
@eqx.filter_grad
def orbit(what, adjoint, solver, saveat=SAVES["t1"], until=0.98, steps=14):
    y0, args = what
    terms = mechanics.separable_terms(half, hill)
    options = {"saveat": saveat, "adjoint": adjoint, "max_steps": steps + 1}
    return score(diffrax.diffeqsolve(terms, solver, 0.0, until, until / steps, y0, args, **options).ys)


@pytest.mark.parametrize("name", mostly_slow(("t1",), ("t1", "ts", "steps")))
@pytest.mark.parametrize(
    "solver", mostly_slow((StormerVerlet,), (StormerVerlet, Yoshida4, BlanesMoan4, BlanesMoan6, KahanLi8))
)
def test_stepping_back_gives_the_gradient_of_the_steps(solver, name):
    what = (problems.henon_heiles().y0, jnp.array([1.1, 0.9]))
    ours, theirs = (orbit(what, adjoint, solver(), SAVES[name]) for adjoint in (ReversibleAdjoint(), AUTO))
    assert agree(ours, theirs, 1e-11)


@pytest.mark.slow
def test_rounding_grows_slowly_along_a_regular_motion():
    """Of small oscillations, over 10^4 steps."""
    what = ((jnp.array([0.01, 0.02]), jnp.array([0.0, 0.01])), jnp.array([1.0, 1.0]))
    options = {"until": 1000.0, "steps": 10_000}
    ours, theirs = (orbit(what, adjoint, StormerVerlet(), **options) for adjoint in (ReversibleAdjoint(), AUTO))
    assert agree(ours, theirs, 1e-9)


def test_stepping_back_needs_no_memory_for_the_way():
    """A hundred times the steps need less than one state a step of what two dozen states hold."""

    def bytes_of(steps):
        y0, args = (jnp.ones(64), jnp.ones(64)), jnp.ones(2)
        run = lambda y0: orbit((y0, args), ReversibleAdjoint(), StormerVerlet(), steps=steps)
        return jax.jit(run).lower(y0).compile().memory_analysis().temp_size_in_bytes

    # What grows is 2 √N places in time, of some thirty bytes each.
    assert bytes_of(10_000) - bytes_of(100) < 2 * 90 * 64
