"""Networks that are to be found again from pairs: the experiment of the paper, and one in which there is something to
find."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from deepest.anneal import Ladder
from deepest.minimise import Joint
from deepest.networks import AbstractNetwork, Dense, LayerMap, NetworkAction, Pairs, Residual

Layer = Callable[[np.random.Generator, int], Callable]

# As released: outputs stay where a logistic function can be.
_CLIP = 1e-4, 0.9999


@dataclasses.dataclass(frozen=True)
class PerceptronSetting:
    """All the numbers of an experiment with layers, but its random ones.

    - `data_layers`, `layers`: of the network that makes the data and of the one that is to learn them, input and output
      layer counted, of `width` neurons each; `data_layer` and `layer` draw one map between two layers.
    - `pairs`: M; `measured`: L, so many neurons of the first and of the last layer; `held_out`: pairs to judge by.
    - `noise`: standard deviation of the measurement error of inputs and outputs; `clip`: whether outputs are kept
      between 1e-4 and 0.9999, as released.
    - `decay`: inverse variance of the weights' prior. `ladder`, `members`: R_f/R_m, and how many random starts.
    - `states`: the range in which the states of hidden layers start, or None for a forward pass of the start's weights.

    Raises `ValueError` for fewer than two layers, for no pair, and for more measured neurons than there are.
    """

    name: str
    about: str
    data_layer: Layer
    layer: Layer
    data_layers: int
    layers: int
    pairs: int
    measured: int
    noise: float
    decay: float
    ladder: Ladder
    clip: bool = False
    states: tuple[float, float] | None = None
    width: int = 10
    held_out: int = 300
    members: int = 5

    def __post_init__(self):
        for name, value, least in (
            ("data_layers", self.data_layers, 2),
            ("layers", self.layers, 2),
            ("pairs", self.pairs, 1),
            ("held_out", self.held_out, 1),
            ("members", self.members, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be {least} or more; received {name}={value}.")
        if not 1 <= self.measured <= self.width:
            raise ValueError(
                f"Of {self.width} neurons in a layer 1 to {self.width} are measured; received measured={self.measured}."
            )
        if not 0 < self.noise < np.inf:
            raise ValueError(f"The noise is a standard deviation, positive and finite; received noise={self.noise}.")

    def simulate(self, key: PRNGKeyArray) -> "PerceptronTwin":
        """A data network and its pairs, all drawn with `key`."""
        draw = generator(key)
        truth = self._network(self.data_layer, self.data_layers, draw)
        x, y = _measured(self, truth, self.pairs + self.held_out, draw)
        training, held_out = (_pairs(self, x[part], y[part]) for part in (slice(self.pairs), slice(self.pairs, None)))
        network = self._network(self.layer, self.layers, draw)
        return PerceptronTwin(self, truth, training, held_out, NetworkAction(network, training, decay=self.decay))

    def start(self, draw: np.random.Generator) -> LayerMap:
        """A network to begin with."""
        return self._network(self.layer, self.layers, draw)

    def _network(self, layer: Layer, layers: int, draw: np.random.Generator) -> LayerMap:
        return LayerMap([layer(draw, self.width) for _ in range(layers - 1)])


@dataclasses.dataclass(frozen=True)
class PerceptronTwin:
    """A network whose weights are known, pairs measured of it, and the action of a network that is to learn them."""

    setting: PerceptronSetting
    truth: LayerMap
    training: Pairs
    held_out: Pairs
    action: NetworkAction

    def starts(self, members: int, key: PRNGKeyArray) -> list[Joint]:
        """Where so many members begin: weights drawn anew, and the setting's states."""
        draw = generator(key)
        return [self._start(draw) for _ in range(members)]

    def _start(self, draw: np.random.Generator) -> Joint:
        start = self.action.start(self.setting.start(draw))
        if self.setting.states is None:
            return start
        drawn = [draw.uniform(*self.setting.states, run.shape) for run in start.states.runs]
        # Measured states begin at the data.
        target = self.training.targets
        drawn[-1][:, -1] = np.where(np.isfinite(target), target, drawn[-1][:, -1])
        runs = tuple(jnp.asarray(states, start.states.first.dtype) for states in drawn)
        return eqx.tree_at(lambda z: z.states.runs, start, runs)


def perceptron(*, layers: int = 20, pairs: int = 10, measured: int = 10, data_layers: int = 100) -> PerceptronSetting:
    """The perceptron twin of the paper, as its code was released: logistic layers of 10 neurons without biases.

    The data network has `data_layers` layers, weights of U(−0.1, 0.1), inputs N(0, 1) brought to mean 0 and deviation
    1, noise 0.005 on inputs and outputs. Starts have weights of U(−1, 1)/10, hidden states of U(0.4, 0.6) and measured
    ones at the data. All arguments are numbers. Two things differ from the release: the ladder takes R_f/R_m from 1e-8
    to 1e10 in 19 factors of 10 instead of 436 of 1.1, and the weights have a prior of variance 1 (theirs is 0.0033),
    because without one nothing determines those of the first layers, whose effect on the output is below rounding.

    This data network forgets its input after a dozen layers: its outputs are one constant vector, and noise. Source:
    [abarbanel2018].
    """
    return PerceptronSetting(
        name="perceptron",
        about=f"{data_layers} logistic layers of 10 neurons, to be learned by {layers}",
        data_layer=_logistic,
        layer=_logistic,
        data_layers=data_layers,
        layers=layers,
        pairs=pairs,
        measured=measured,
        noise=0.005,
        decay=1.0,
        ladder=Ladder(1e-8, 10.0, 19),
        clip=True,
        states=(0.4, 0.6),
    )


def preserving(*, layers: int = 5, pairs: int = 100, measured: int = 10, data_layers: int = 5) -> PerceptronSetting:
    """A twin in which there is something to learn: layers x + ½ tanh(W x + b), which keep what their input says.

    Of the data network W is an orthogonal matrix times 2, and b = 0; starts have weights of U(−1, 1)/10 and states of a
    forward pass. 10 neurons a layer, inputs as in `perceptron`, noise 0.05 on inputs and outputs; the weights' prior
    has the variance 0.4 of the true ones. R_f/R_m from 1e-4 to 1e5 by factors of 10. All arguments are numbers.
    """
    return PerceptronSetting(
        name="preserving",
        about=f"{data_layers} residual layers of 10 neurons, to be learned by {layers}",
        data_layer=_orthogonal,
        layer=_residual,
        data_layers=data_layers,
        layers=layers,
        pairs=pairs,
        measured=measured,
        noise=0.05,
        decay=2.5,
        ladder=Ladder(1e-4, 10.0, 10),
    )


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """Draws on the host, where each shape need not be compiled."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _logistic(draw: np.random.Generator, width: int) -> Dense:
    """Weights of U(−1, 1)/width, no bias."""
    return _dense(draw.uniform(-1.0, 1.0, (width, width)) / width, jax.nn.sigmoid, bias=False)


def _residual(draw: np.random.Generator, width: int) -> Residual:
    """Weights of U(−1, 1)/width, bias 0."""
    return Residual(_dense(draw.uniform(-1.0, 1.0, (width, width)) / width, jnp.tanh, bias=True), 0.5)


def _orthogonal(draw: np.random.Generator, width: int) -> Residual:
    """An orthogonal matrix times 2, bias 0."""
    return Residual(_dense(2.0 * np.linalg.qr(draw.normal(size=(width, width)))[0], jnp.tanh, bias=True), 0.5)


def _dense(weight: np.ndarray, activation: Callable, *, bias: bool) -> Dense:
    outputs, inputs = weight.shape
    like = Dense(inputs, outputs, activation, bias=bias, key=jax.random.key(0))
    return eqx.tree_at(lambda layer: layer.weight, like, jnp.asarray(weight, like.weight.dtype))


def _measured(
    setting: PerceptronSetting, truth: LayerMap, count: int, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and outputs (count, width), with noise."""
    x = draw.normal(size=(count, setting.width))
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    noisy = lambda exact: exact + setting.noise * draw.normal(size=exact.shape)
    y = noisy(outputs(truth, x))
    return noisy(x), np.clip(y, *_CLIP) if setting.clip else y


def outputs(network: AbstractNetwork, inputs: Float[np.ndarray, "pair input"]) -> Float[np.ndarray, "pair output"]:
    """What a network makes of inputs (M, N)."""
    x = jnp.asarray(inputs, jnp.result_type(float))
    for run in network.runs(x.shape[1:], x.dtype):
        x = _through(run, x)
    return np.asarray(x)


@eqx.filter_jit
def _through(run: Callable, x: Array) -> Array:
    return jax.vmap(run)(x)


def _pairs(setting: PerceptronSetting, x: np.ndarray, y: np.ndarray) -> Pairs:
    seen = range(setting.measured)
    return Pairs.of_components(
        x[:, seen],
        y[:, seen],
        components=(seen, seen),
        widths=(setting.width, setting.width),
        noise=setting.noise,
        input_noise=setting.noise,
        input_prior=(0.0, 1.0),
    )
