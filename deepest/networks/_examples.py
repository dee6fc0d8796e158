"""Networks and pairs by name, each an example that is known to work."""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from deepest.anneal import Ladder
from deepest.io import read_digits
from deepest.minimise import Representers
from deepest.networks._action import NetworkAction
from deepest.networks._continuous import ContinuousNetwork
from deepest.networks._end_cost import CrossEntropy
from deepest.networks._layers import Dense
from deepest.networks._network import perceptron
from deepest.networks._pairs import Pairs
from deepest.networks._roads import AbstractRoad, Annealed, Descent, Strong

# One split for everyone: of the images in this order the first are held out.
_ORDER = 0
_HELD_OUT = 360


@dataclasses.dataclass(frozen=True)
class Example:
    """A network with its training pairs, pairs held out, and roads that lead somewhere, by name, the best one first.

    `pictures` is the shape of one input as an image, for those that want to draw it.
    """

    name: str
    about: str
    action: NetworkAction
    held_out: Pairs
    roads: Mapping[str, AbstractRoad]
    pictures: tuple[int, int]


class Field(eqx.Module):
    """dx/dt = inside(x), the same at every depth."""

    inside: Dense

    def __call__(self, t, x: Float[Array, " state"], args) -> Float[Array, " state"]:
        return self.inside(x)


def digits_network(*, layers: int = 8, key: PRNGKeyArray) -> ContinuousNetwork:
    """Of 64 pixels, a linear map to 32 neurons, dx/dt = tanh(W x + b) to depth 4 in Heun's steps, and a linear map to
    10 logits; 3466 weights. `layers` is the number of steps."""
    first, middle, last = jax.random.split(key, 3)
    return ContinuousNetwork(
        Field(Dense(32, 32, gain=0.3, key=middle)),
        4.0,
        layers,
        entry=Dense(64, 32, None, key=first),
        readout=Dense(32, 10, None, key=last),
    )


def digits(*, pairs: int | None = None, layers: int | None = None, seed: int = 0) -> Example:
    """Handwritten digits: scikit-learn's 1797 images of 8 × 8 pixels, of which 360, always the same, are held out.

    Trains on the first `pairs` of the others, in the split's order; None takes all 1437. `layers` is a number of steps,
    8 by default, and `seed` draws the weights to begin with. Pixels are 0 … 1, less 0.3, which is about their mean.
    The decay 0.3, the learning rate and the roads' lengths were chosen on parts of the training pairs.
    `ValueError` for fewer than one pair or more than there are; `ImportError` without the extra `data`.
    """
    images, labels = read_digits()
    order = np.random.default_rng(_ORDER).permutation(len(labels))
    whole = Pairs(images[order] - 0.3, labels[order])
    held_out, rest = whole.take(slice(0, _HELD_OUT)), whole.take(slice(_HELD_OUT, None))
    training = _first(rest, pairs)
    network = digits_network(layers=8 if layers is None else layers, key=jax.random.key(seed))
    return Example(
        name="digits",
        about="1797 handwritten digits of 8 × 8 pixels, a continuous network 64 → 32 → 10",
        action=NetworkAction(network, training, cost=CrossEntropy(), decay=0.3),
        held_out=held_out,
        roads={
            "descent": _descent(training.count, 32, stages=60, epochs=1, seed=seed),
            "strong": _strong(training.count, 128, seed=seed),
            "annealed": Annealed(Ladder(0.1, 10.0, 5), steps=6),
        },
        pictures=(8, 8),
    )


def bars(*, pairs: int | None = None, layers: int | None = None, seed: int = 0, anywhere: bool = False) -> Example:
    """Bars of 5 × 5 pixels, 1 on 0 with noise U(−0.175, 0.175): horizontal, vertical or along one of the diagonals.

    They go through the middle, or with `anywhere` are moved by up to two pixels across their direction, so that
    diagonals lose what leaves the image. The network is a perceptron 25-30-4 of logistic neurons with linear logits;
    `layers` is the number of layers of 30 neurons. Of 1000 images 800 are held out; it trains on the first `pairs`
    of the other 200. Which bars there are is our choice. Source: [abarbanel2018].
    """
    images, labels = _bars(1000, 2 if anywhere else 0)
    whole = Pairs(images, labels)
    hidden = 1 if layers is None else layers
    if hidden < 1:
        raise ValueError(f"A perceptron of bars has at least one layer of neurons; received layers={hidden}.")
    widths = [25, *(30 for _ in range(hidden)), 4]
    network = perceptron(widths, jax.nn.sigmoid, gain=2.0, key=jax.random.key(seed))
    training = _first(whole.take(slice(0, 200)), pairs)
    where = "anywhere in" if anywhere else "through the middle of"
    return Example(
        name="bars-anywhere" if anywhere else "bars",
        about=f"four kinds of bars {where} 5 × 5 noisy pixels, a perceptron {'-'.join(map(str, widths))}",
        action=NetworkAction(network, training, cost=CrossEntropy(), decay=0.03),
        held_out=whole.take(slice(200, None)),
        roads={
            "strong": Strong(stages=4, steps=6),
            "annealed": Annealed(Ladder(10.0, 10.0, 4), steps=6),
            "descent": _descent(training.count, 20, stages=40, epochs=5, seed=seed),
        },
        pictures=(5, 5),
    )


def _first(pairs: Pairs, count: int | None) -> Pairs:
    if count is not None and not 1 <= count <= pairs.count:
        raise ValueError(f"There are 1 to {pairs.count} training pairs; received pairs={count}.")
    return pairs.take(slice(0, count))


def _strong(pairs: int, batch: int, *, seed: int) -> Strong:
    """Gauss–Newton on batches where there are several, and then on all pairs."""
    return Strong(
        stages=4, steps=2, form=Representers(iterations=5), batch=batch if pairs >= 4 * batch else None, seed=seed
    )


def _descent(pairs: int, batch: int, *, stages: int, epochs: int, seed: int) -> Descent:
    """Adam on batches, its learning rate falling from 0.01 to nothing."""
    batch = min(batch, pairs)
    rate = optax.cosine_decay_schedule(1e-2, stages * epochs * (pairs // batch))
    return Descent(optax.adam(rate), stages=stages, epochs=epochs, batch=batch, seed=seed)


def _bars(count: int, most: int) -> tuple[Float[np.ndarray, "image pixel"], Int[np.ndarray, " image"]]:
    """Images (count, 25) with bars moved by up to `most` pixels, and what they are, from one seed."""
    generator, size = np.random.default_rng(0), 5
    labels, moved = generator.integers(0, 4, count), generator.integers(-most, most + 1, count)
    row, column = np.mgrid[:size, :size] - size // 2
    lines = [row, column, row - column, row + column]
    on = np.stack([lines[label] == shift for label, shift in zip(labels, moved, strict=True)])
    noise = generator.uniform(-0.175, 0.175, on.shape)
    return (on + noise).reshape(count, -1), labels
