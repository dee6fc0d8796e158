"""One continuous network, transcribed with more and more layers."""

import dataclasses
from collections.abc import Sequence

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from deepest.minimise import DampedNewton, Representers
from deepest.networks import ContinuousNetwork, NetworkAction, Pairs, climb
from deepest.twin._perceptron import generator, outputs

# How finely the data are made: errors of a fifth-order method, at this many steps, are far below those of any layer.
_STEPS = 320


class TanhField(eqx.Module):
    """dx/dt = tanh(W x + b), with x (N,), W (N, N) and b (N,) the same at every depth."""

    weight: Float[Array, "state state"]
    bias: Float[Array, " state"]

    def __call__(self, t: Array, x: Float[Array, " state"], args: None) -> Float[Array, " state"]:
        return jnp.tanh(self.weight @ x + self.bias)


@dataclasses.dataclass(frozen=True)
class Finer:
    """What was found with each number of layers N, at each R_f/R_m.

    `levels`, `held_out` (N, ratio): reduced levels, and held-out errors in units of the measurement's variance.
    """

    layers: Int[np.ndarray, " layers"]
    ratios: Float[np.ndarray, " ratio"]
    levels: Float[np.ndarray, "layers ratio"]
    held_out: Float[np.ndarray, "layers ratio"]

    @staticmethod
    def orders(values: Float[np.ndarray, "layers ratio"]) -> Float[np.ndarray, "order ratio"]:
        """log₂ |(a_N − a_2N) / (a_2N − a_4N)| of a column of `levels` or `held_out`, whose layers double each time."""
        steps = np.abs(np.diff(values, axis=0))
        return np.log2(steps[:-1] / steps[1:])


def finer(
    layers: Sequence[int] = (5, 10, 20, 40, 80, 160),
    ratios: Sequence[float] = (1.0, np.inf),
    *,
    solver: diffrax.AbstractSolver,
    key: PRNGKeyArray,
) -> Finer:
    """Find the field of a continuous network again, in so many layers each time, from the same pairs.

    Forty pairs of three neurons, noise 0.05 on inputs and outputs, through dx/dt = tanh(W x + b) to the depth 1; W and
    b have a prior of variance 1 and begin at the truth, so that all numbers of layers end in the same minimum, and what
    differs is the transcription. `solver` is that of a layer; `ratios` (ratio,) ascend, and may end in infinity.
    """
    draw, noise, depth = generator(key), 0.05, 1.0
    field = TanhField(jnp.asarray(draw.normal(size=(3, 3))), jnp.asarray(0.5 * draw.normal(size=3)))
    truth = ContinuousNetwork(field, depth, _STEPS, solver=diffrax.Tsit5())
    x = draw.normal(size=(140, 3))
    y = outputs(truth, x) + noise * draw.normal(size=x.shape)
    x = x + noise * draw.normal(size=x.shape)
    training, held_out = (
        Pairs(x[part], y[part], noise=noise, input_noise=noise) for part in (slice(40), slice(40, 140))
    )
    minimiser, found = DampedNewton(limit=200, form=Representers(iterations=60, tolerance=1e-6)), []
    for count in layers:
        action = NetworkAction(ContinuousNetwork(field, depth, count, solver=solver), training, decay=1.0)
        found.append(climb(action, [action.start()], ratios, held_out=held_out, minimiser=minimiser, tolerance=1e-13))
    levels, errors = (np.array([getattr(each, name)[:, 0] for each in found]) for name in ("levels", "held_out"))
    return Finer(np.asarray(layers), np.asarray(ratios, float), levels, errors)
