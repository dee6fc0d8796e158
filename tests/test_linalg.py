"""Bordered block-tridiagonal systems against dense linear algebra."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from deepest.linalg import BlockVector, BorderedTridiagonal, Lanes, Leading, Sweep, Trailing, dot

# nodes, state size D, interior size E, parameters P
CASES = [(2, 3, 3, 0), (6, 2, 0, 1), (5, 3, 0, 0), (37, 2, 4, 3)]
KERNELS = [Sweep(), Lanes()]
# The systems below are I + Σ JᵀJ with condition numbers under 200, so that a backward stable method errs by
# about 200 eps times a small power of the size, in whatever order it sums: far below √eps.
RTOL = float(np.sqrt(jnp.finfo(jnp.result_type(float)).eps))

label = lambda x: "nodes{}-D{}-E{}-P{}".format(*x) if isinstance(x, tuple) else type(x).__name__
cases = pytest.mark.parametrize("case", CASES, ids=label)
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=label)
layouts = pytest.mark.parametrize("layout", [Leading(), Trailing()], ids=label)
pytestmark = pytest.mark.float32


def close(actual, desired):
    desired = np.asarray(desired)
    np.testing.assert_allclose(actual, desired, rtol=0, atol=RTOL * max(np.max(np.abs(desired), initial=0), 1e-30))


def total(case):
    nodes, d, e, p = case
    return nodes * d + (nodes - 1) * e + p


def places(case):
    """What each interval couples: its two nodes, its interior and the parameters, as rows of the dense matrix."""
    nodes, d, e, p = case
    inside = lambda k: np.arange(nodes * d + k * e, nodes * d + (k + 1) * e)
    shared = np.arange(total(case) - p, total(case))
    return [np.r_[k * d : (k + 2) * d, inside(k), shared] for k in range(nodes - 1)]


def matrix(case, seed=0):
    """I + Σ JᵀJ over intervals: symmetric positive definite, and of the structure."""
    rng, dense = np.random.default_rng(seed), np.eye(total(case))
    for index in places(case):
        jacobian = rng.normal(size=(case[1] + case[2], index.size)) / np.sqrt(index.size)
        dense[np.ix_(index, index)] += jacobian.T @ jacobian
    return dense


def blocks(dense, case):
    """The blocks of a dense matrix, batch axis first."""
    nodes, d, e, p = case
    node = [np.arange(k * d, (k + 1) * d) for k in range(nodes)]
    inside = [index[2 * d : 2 * d + e] for index in places(case)]
    shared = [np.arange(total(case) - p, total(case))] * nodes
    cut = lambda rows, columns: [dense[np.ix_(r, c)] for r, c in zip(rows, columns, strict=False)]
    pick = lambda rows, columns: jnp.asarray(np.stack(cut(rows, columns)), float)
    return BorderedTridiagonal(
        diagonal=pick(node, node),
        upper=pick(node[:-1], node[1:]),
        border=pick(node, shared),
        interior=pick(inside, inside),
        left=pick(node[:-1], inside),
        right=pick(node[1:], inside),
        inner=pick(inside, shared),
        corner=pick(shared[:1], shared[:1])[0],
        layout=Leading(),
    )


def laid(system, layout):
    """The same system with its blocks in another layout."""
    move = lambda x: layout.matrices(x) if x.ndim == 3 else x
    parts = {name: move(getattr(system, name)) for name in vars(system) if name != "layout"}
    return BorderedTridiagonal(**parts, layout=layout)


def vector(case, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=total(case)), float)


def unflat(case):
    nodes, d, e, p = case
    z = BlockVector(*(jnp.asarray(np.zeros(shape), float) for shape in [(nodes, d), (nodes - 1, e), (p,)]))
    return ravel_pytree(z)[1]


def flat(z):
    return ravel_pytree(z)[0]


def to_dense(system, case):
    """A BorderedTridiagonal as a dense matrix: its product with every unit vector."""
    return jax.vmap(lambda unit: flat(system.mv(unflat(case)(unit))), out_axes=1)(jnp.eye(total(case)))


@eqx.filter_jit
def everything(kernel, system, case, b):
    """Both ways to solve, and the log-determinant, of a system with its batch axis first."""
    system, right = laid(system, kernel.layout), unflat(case)(b)
    factor = kernel.factor(system)
    return flat(kernel.solve(system, right)), flat(factor.solve(right)), factor.log_determinant()


@cases
@layouts
def test_products_shifts_and_restrictions_are_the_dense_ones(case, layout):
    """mv is H z; shift is H + diag; restrict is F H F + 1 − F, so that held unknowns stay where they are."""
    dense, amount, free = matrix(case), vector(case, 1), jnp.asarray(np.asarray(vector(case, 2)) > -0.3, float)

    @jax.jit
    def three(system, amount, free):
        system, at = laid(system, layout), unflat(case)
        return [to_dense(s, case) for s in (system, system.shift(at(amount)), system.restrict(at(free)))]

    product, shifted, restricted = three(blocks(dense, case), amount, free)
    kept = np.diag(np.asarray(free, float))
    close(product, dense)
    close(shifted, dense + np.diag(amount))
    close(restricted, kept @ dense @ kept + np.eye(len(kept)) - kept)


@cases
@kernels
def test_solves_and_determinant_are_the_dense_ones(case, kernel):
    dense, b, c = matrix(case), vector(case, 1), vector(case, 2)
    system = blocks(dense, case)
    once, again, log_determinant = everything(kernel, system, case, b)
    close(once, np.linalg.solve(dense, np.asarray(b, float)))
    close(again, once)
    close(log_determinant, np.linalg.slogdet(dense)[1])
    close(log_determinant, 2.0 * np.log(np.diagonal(np.linalg.cholesky(dense))).sum())
    # Self-adjoint: cᵀ (H⁻¹ b) = bᵀ (H⁻¹ c).
    close(np.dot(c, once), np.dot(b, everything(kernel, system, case, c)[0]))


@pytest.mark.parametrize("case", [(5, 2, 2, 1)], ids=label)
@kernels
def test_derivatives_are_the_dense_ones(case, kernel):
    """d(H⁻¹b) = H⁻¹(db − dH H⁻¹b), d log det H = tr(H⁻¹ dH); and ⟨Jᵀu, v⟩ = ⟨u, J v⟩."""
    dense, change = matrix(case), matrix(case, seed=5)
    b, db, u = (vector(case, seed) for seed in (1, 2, 3))

    @jax.jit
    def derive(system, b, direction, db, u):
        function = lambda system, b: everything(kernel, system, case, b)[1:]
        push = jax.linearize(function, system, b)[1]
        pushed, pull = push(direction, db), jax.linear_transpose(push, direction, db)
        pulled = jax.vmap(pull)((jnp.outer(jnp.eye(2)[0], u), jnp.eye(2)[1]))
        return pushed, jax.vmap(flat)(pulled) @ flat((direction, db))

    pushed, pulled = derive(blocks(dense, case), b, blocks(change, case), db, u)
    inverse, b, db, u = np.linalg.inv(dense), *(np.asarray(x, float) for x in (b, db, u))
    solution, trace = inverse @ (db - change @ inverse @ b), np.sum(inverse * change)
    for ours, dense_one in zip(pushed, (solution, trace), strict=True):
        close(ours, dense_one)
    for ours, dense_one in zip(pulled, (u @ solution, trace), strict=True):
        close(ours, dense_one)


@pytest.mark.parametrize("case", [CASES[0], CASES[3]], ids=label)
@kernels
def test_a_batch_is_a_loop_and_one_bad_system_harms_no_other(case, kernel):
    """Not positive definite at the first node, the last, an interior, the corner: NaN there and only there."""
    nodes, d, e, p = case
    spots = [None, 0, nodes * d - 1, nodes * d, total(case) - 1, None]
    harmed = lambda a, spot: a if spot is None else a - 99.0 * np.outer(np.eye(len(a))[spot], np.eye(len(a))[spot])
    systems = [blocks(harmed(matrix(case, seed), spot), case) for seed, spot in enumerate(spots)]
    b, stacked = vector(case, 1), jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *systems)
    batched = eqx.filter_jit(jax.vmap(lambda s: everything(kernel, s, case, b)))(stacked)
    for k, spot in enumerate(spots):
        for here, alone in zip(batched, everything(kernel, systems[k], case, b), strict=True):
            if spot is None:
                close(here[k], alone)
            else:
                assert np.all(np.isnan(here[k])) and np.all(np.isnan(alone))


LAYOUT_OPERATIONS = {
    "mul": (lambda x, a, b: x.mul(a, x.transpose(b)), lambda a, b: a @ b.swapaxes(1, 2)),
    "tmul": (lambda x, a, b: x.tmul(a, b), lambda a, b: a.swapaxes(1, 2) @ b),
    "transpose": (lambda x, a, b: x.transpose(a), lambda a, b: a.swapaxes(1, 2)),
    "window": (lambda x, a, b: x.window(a, slice(1, -1, 2)), lambda a, b: a[1:-1:2]),
    "columns": (lambda x, a, b: x.columns(a, slice(1, None)), lambda a, b: a[:, :, 1:]),
    "stack": (lambda x, a, b: x.stack([[a, b], [b, a]]), lambda a, b: np.block([[a, b], [b, a]])),
    "scalars": (lambda x, a, b: x.scalars(jnp.arange(6.0)) * a, lambda a, b: np.arange(6.0)[:, None, None] * a),
    "vmap": (
        lambda x, a, b: x.vmap(lambda a, s: s * a, batched=(True, False))(x.restore(a), 2.0),
        lambda a, b: 2.0 * a,
    ),
    "overlap": (
        lambda x, a, b: x.overlap(a, b),
        lambda a, b: np.concatenate([a, 0 * a[:1]]) + np.concatenate([0 * b[:1], b]),
    ),
}


@layouts
def test_layout_operations_are_numpys_on_every_matrix(layout):
    a, b = np.random.default_rng(0).normal(size=(2, 6, 3, 4))

    @jax.jit
    def ours(a, b):
        a, b = layout.matrices(a), layout.matrices(b)
        each = {name: layout.restore(one(layout, a, b)) for name, (one, _) in LAYOUT_OPERATIONS.items()}
        return each, layout.gram(a, b)

    each, gram = ours(jnp.asarray(a, float), jnp.asarray(b, float))
    for name, (_, numpys) in LAYOUT_OPERATIONS.items():
        close(each[name], numpys(a, b))
    close(gram, np.einsum("kij,kil->jl", a, b))


def test_dot_is_that_of_the_flat_vectors():
    a, b, at = vector(CASES[3], 1), vector(CASES[3], 2), unflat(CASES[3])
    close(dot(at(a), at(b)), np.dot(a, b))
