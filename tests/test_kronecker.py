"""Many small matrices without LAPACK, and the Kronecker products that precondition weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepest.linalg import inverse_root
from deepest.minimise._kronecker import Kronecker


@pytest.mark.float32
@pytest.mark.parametrize(("batch", "size"), [((), 1), ((3,), 4), ((2, 5), 7)])
def test_an_inverse_root_is_that_of_cholesky(batch, size):
    draw = np.random.default_rng(size).normal(size=(*batch, size, 2 * size))
    matrix = jnp.asarray(draw @ np.swapaxes(draw, -1, -2), float)
    root = jax.jit(inverse_root)(matrix)
    bound = 1e3 * float(jnp.finfo(matrix.dtype).eps)
    exact = np.linalg.inv(np.linalg.cholesky(np.asarray(matrix, float)))
    assert np.allclose(root, exact, rtol=0, atol=bound * np.abs(exact).max())
    assert (np.triu(root, 1) == 0).all()


def test_the_inverse_root_of_an_indefinite_matrix_is_not_a_number():
    matrices = jnp.asarray([[[1.0, 2.0], [2.0, 1.0]], [[2.0, 1.0], [1.0, 2.0]]])
    found = inverse_root(matrices)
    assert jnp.isnan(found[0]).any() and jnp.isfinite(found[1]).all()


def dense(factors, mean, shift):
    """m (F_1 + γ) ⊗ (F_2 + γ), γ = (s/m)^½."""
    part = np.sqrt(shift / mean)
    one, other = (np.asarray(factor) + part * np.eye(len(factor)) for factor in factors)
    return mean * np.kron(one, other)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_kronecker_product_is_inverted_as_a_dense_matrix(stacked):
    rng = np.random.default_rng(1)
    samples = {"w": jnp.asarray(rng.normal(size=(40, 2, 3, 4) if stacked else (40, 3, 4)))}
    of = Kronecker.of(samples, {"w": stacked})
    x, shift = samples["w"][0], jnp.asarray([0.1, 2.0]) if stacked else jnp.asarray(0.1)
    found = of.inverse({"w": shift})({"w": x})["w"]
    for k in range(2 if stacked else 1):
        part = lambda leaf, k=k: leaf[k] if stacked else leaf
        factors = [part(factor) for factor in of.factors["w"]]
        matrix = dense(factors, float(part(of.scale["w"])), float(part(shift)))
        assert np.allclose(part(found).ravel(), np.linalg.solve(matrix, part(x).ravel()), rtol=1e-10)


def test_many_samples_of_a_kronecker_product_give_its_factors_back():
    """Of outer products a bᵀ, the second moments of a and b; the sampling error of 20000 is below 5 %."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(20000, 3)) * [1.0, 2.0, 3.0], rng.normal(size=(20000, 4)) * [0.5, 1.0, 1.0, 2.0]
    of = Kronecker.of({"w": jnp.asarray(a[:, :, None] * b[:, None, :])}, {"w": False})
    second = [np.diag([1.0, 4.0, 9.0]), np.diag([0.25, 1.0, 1.0, 4.0])]
    whole = np.kron(*second)
    found = float(of.scale["w"]) * np.kron(*map(np.asarray, of.factors["w"]))
    assert np.linalg.norm(found - whole) < 0.05 * np.linalg.norm(whole)


def test_a_long_axis_keeps_its_diagonal_only():
    samples = {"w": jnp.asarray(np.random.default_rng(3).normal(size=(8, 300)))}
    of = Kronecker.of(samples, {"w": False})
    assert of.factors["w"][0].shape == (300,)
    x = samples["w"][1]
    found = of.inverse({"w": jnp.asarray(0.5)})({"w": x})["w"]
    assert np.allclose(found, x / (of.scale["w"] * of.factors["w"][0] + 0.5), rtol=1e-12)


@pytest.mark.float32
@pytest.mark.parametrize("share", [0.3, 0.48, 0.5, 0.6])
def test_samples_near_underflow_leave_the_shift_alone(share):
    """Layers whose influence vanishes, as at the front of a deep chain of saturating ones, still have their prior."""
    size = float(jnp.finfo(jnp.result_type(float)).tiny) ** share
    samples = {"w": size * jax.random.normal(jax.random.key(0), (8, 4, 4))}
    inverse = Kronecker.of(samples, {"w": False}).inverse({"w": jnp.asarray(2.0)})
    assert np.allclose(inverse({"w": jnp.full((4, 4), 1e-3)})["w"], 5e-4, rtol=1e-3)
