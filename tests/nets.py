"""Tiny networks of every kind, their pairs and actions, for the tests of the networks room."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from deepest.networks import (
    ContinuousNetwork,
    CrossEntropy,
    Dense,
    DenseField,
    Elements,
    Elman,
    Generated,
    LayerMap,
    NetworkAction,
    Pairs,
    Piecewise,
    Recurrent,
    Residual,
    SquaredError,
    perceptron,
)

KEYS = jax.random.split(jax.random.key(7), 8)


def field(key):
    return DenseField(2, 3, time=True, key=key)


def image(x):
    return x.reshape(1, 4, 4)


def last(x):
    return x[-1]


def chain():
    layers = [Dense(3, 4, jax.nn.sigmoid, key=KEYS[0]), Dense(4, 2, bias=False, key=KEYS[1]), jnp.sin]
    return LayerMap([*layers, eqx.nn.Linear(2, 2, use_bias=False, key=KEYS[2])])


def mixed():
    """Runs of one, of two, and of one layer again."""
    kept = [Residual(Dense(3, 3, key=key), 0.5) for key in KEYS[:2]]
    return LayerMap(
        [*kept, Dense(3, 3, key=KEYS[2]), Residual(Dense(3, 3, key=KEYS[3]), 0.5), Dense(3, 2, key=KEYS[4])]
    )


def convolution():
    """From a row of pixels, through two images, to numbers."""
    return LayerMap(
        [
            image, eqx.nn.Conv2d(1, 2, 2, key=KEYS[0]), jnp.tanh, eqx.nn.Conv2d(2, 1, 2, stride=2, key=KEYS[1]),
            jnp.ravel, Dense(1, 2, None, key=KEYS[2]),
        ]
    )  # fmt: skip


def recurrent():
    cells = Elman(2, 3, key=KEYS[0]), eqx.nn.GRUCell(3, 2, key=KEYS[1])
    return LayerMap([Recurrent(cells[0], 3), Recurrent(cells[1], 2), last, Dense(2, 2, None, key=KEYS[2])])


def flow(field, layers=4, **options):
    return ContinuousNetwork(field, 1.5, layers, **options)


KINDS = {
    "chain": (chain, (3,)),
    "residual": (lambda: perceptron([3, 3, 3, 2], residual=0.5, key=KEYS[0]), (3,)),
    "mixed": (mixed, (3,)),
    "convolution": (convolution, (16,)),
    "recurrent": (recurrent, (3, 2)),
    "constant": (lambda: flow(field(KEYS[0])), (2,)),
    "piecewise": (lambda: flow(Piecewise.of(field, 2, 1.5, key=KEYS[0])), (2,)),
    "elements": (lambda: flow(Elements.of(field, 3, 1.5, key=KEYS[0])), (2,)),
    "generated": (lambda: flow(Generated.of(field(KEYS[0]), 2, key=KEYS[1])), (2,)),
    "augmented": (lambda: flow(field(KEYS[0]), augment=1, readout=Dense(2, 2, None, key=KEYS[1])), (1,)),
    "entry": (
        lambda: flow(
            field(KEYS[0]), entry=Dense(3, 1, key=KEYS[1]), augment=1, readout=eqx.nn.Linear(2, 2, key=KEYS[2])
        ),
        (3,),
    ),
}


def pairs(shape, *, entropy=False, inputs="exact", masked=False, count=3, seed=0):
    """`count` pairs for two outputs, inputs exact, noisy, or partly unmeasured; a target missing where `masked`."""
    rng = np.random.default_rng(seed)
    given, targets = rng.normal(size=(count, *shape)), rng.normal(size=(count, 2))
    options = {} if entropy else {"noise": 0.5}
    if inputs == "noisy":
        options["input_noise"] = 0.4
    if inputs == "partly":
        given.reshape(count, -1)[0, 0] = np.nan
        options["input_prior"] = (0.1, 0.7)
    if masked:
        targets[1, 0] = np.nan
    return Pairs(given, rng.integers(0, 2, count) if entropy else targets, **options)


def action(kind, *, decay=0.2, entropy=False, **options):
    """The action of a tiny network; options are those of `pairs`."""
    make, shape = KINDS[kind]
    cost = CrossEntropy() if entropy else SquaredError()
    return NetworkAction(make(), pairs(shape, entropy=entropy, **options), cost=cost, decay=decay)


def scattered(tree, size=0.3, seed=1):
    """The tree with normal numbers added."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(size * rng.normal(size=leaf.shape), leaf.dtype), tree)
