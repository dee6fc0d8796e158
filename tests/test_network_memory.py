"""What a Gauss–Newton step of a network needs: memory linear in pairs and in depth, and no matrix of all weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepest.minimise import DampedNewton, Representers
from deepest.networks import NetworkAction, Pairs, perceptron


def room(pairs, layers, width=6, outputs=3):
    """Bytes that a compiled minimisation needs beside what it is given and gives back."""
    draw = np.random.default_rng(0).normal
    network = perceptron([width] * layers + [outputs], key=jax.random.key(0))
    action = NetworkAction(network, Pairs(draw(size=(pairs, width)), draw(size=(pairs, outputs))))
    minimiser = DampedNewton(form=Representers(chunk=32), limit=3)
    run = eqx.filter_jit(lambda problem, z: minimiser.minimise(problem, z, tolerance=1e-6))
    compiled = run.lower(action.at(jnp.asarray(1.0)), action.start()).compile()
    return compiled.compiled.memory_analysis().temp_size_in_bytes


# What does not grow only lowers these ratios; what grows faster than linearly raises them above the bound.


def test_memory_is_at_most_linear_in_the_pairs():
    assert room(512, 8) < 4.2 * room(128, 8)


@pytest.mark.slow
def test_memory_is_at_most_linear_in_the_depth():
    assert room(256, 128) < 4.2 * room(256, 32)


@pytest.mark.slow
def test_no_matrix_couples_all_weights():
    width, layers = 64, 16
    weights = width**2 * layers
    assert room(32, layers, width) < 0.1 * 8 * weights**2
