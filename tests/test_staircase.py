"""The linear systems of boundary value problems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepest as dp
from deepest.linalg import Rows, Staircase

EPS = float(jnp.finfo(jnp.result_type(float)).eps)


def staircase(count, size, interior, shared, growth=1.0, seed=0):
    rng = np.random.default_rng(seed)
    block = lambda *shape: jnp.asarray(rng.normal(size=shape), float)
    rows, ends = interior + size, size + shared
    scale = jnp.asarray(growth ** np.linspace(-1.0, 1.0, size), float)
    left = jnp.concatenate(
        [block(count, interior, size), -jnp.broadcast_to(jnp.diag(scale), (count, size, size))], axis=1
    )
    right = jnp.concatenate(
        [block(count, interior, size), jnp.broadcast_to(jnp.eye(size), (count, size, size))], axis=1
    )
    inside, border = block(count, rows, interior), block(count, rows, shared)
    # Decaying components are given at the start, growing ones at the end.
    grows = jnp.where(scale >= 1.0, jnp.ones(size), jnp.zeros(size))
    first = jnp.concatenate([jnp.diag(1.0 - grows), block(shared, size)])
    last = jnp.concatenate([jnp.diag(grows), block(shared, size)])
    return Staircase(left, inside, right, border, first, last, block(ends, shared)), rng


@pytest.mark.float32
@pytest.mark.parametrize(("interior", "shared"), [(0, 0), (3, 2)])
@pytest.mark.parametrize("count", [1, 2, 13])
def test_a_staircase_is_solved(count, interior, shared):
    matrix, rng = staircase(count, 4, interior, shared)
    rows = Rows(
        jnp.asarray(rng.normal(size=(count, interior + 4)), float), jnp.asarray(rng.normal(size=4 + shared), float)
    )
    z = jax.jit(lambda m, r: m.factor().solve(r))(matrix, rows)
    back = matrix.mv(z)
    size = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(z) if leaf.size)
    for got, want in zip(jax.tree.leaves(back), jax.tree.leaves(rows), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e3 * EPS * size)


@pytest.mark.float32
def test_growing_and_decaying_components_lose_no_digits():
    """Over forty intervals they grow and decay by 10^40: a solve from either side would lose all digits."""
    matrix, rng = staircase(40, 4, 0, 0, growth=10.0)
    truth = jnp.asarray(rng.normal(size=(41, 4)), float)
    z = matrix.factor().solve(matrix.mv(dp.linalg.BlockVector(truth, jnp.zeros((40, 0)), jnp.zeros(0))))
    np.testing.assert_allclose(z.nodes, truth, rtol=0, atol=1e3 * EPS)


@pytest.mark.parametrize("size", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_many_systems_side_by_side_are_each_solved(size):
    """Under `vmap`, with both kinds of elimination, also one matrix for several right sides."""
    solve = jax.vmap(lambda m, r: m.factor(constant=True).solve(r))
    made = [staircase(40, size, 2, 1, seed=seed) for seed in range(8)]
    draw = lambda *shape: jnp.asarray(made[0][1].normal(size=shape), float)
    rows = Rows(draw(8, 40, size + 2), draw(8, size + 1))
    each = jax.tree.map(lambda *x: jnp.stack(x), *(matrix for matrix, _ in made))
    same = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (8, *x.shape)), made[0][0])
    one = jax.vmap(made[0][0].factor(constant=True).solve)
    for matrices, z in ((each, jax.jit(solve)(each, rows)), (same, jax.jit(one)(rows))):
        back = jax.vmap(Staircase.mv)(matrices, z)
        scale = float(jnp.max(jnp.abs(z.nodes)))
        np.testing.assert_allclose(back.intervals, rows.intervals, rtol=0, atol=2e3 * EPS * scale)
        np.testing.assert_allclose(back.ends, rows.ends, rtol=0, atol=2e3 * EPS * scale)
