"""Plain classifiers, to stand beside every network."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int

from deepest.minimise import LBFGS, AbstractProblem
from deepest.networks._pairs import Pairs

# From strong to weak: a regression with less decay is sought from the one with more.
_DECAYS = np.array([100.0, 10.0, 1.0, 0.1, 0.01])
_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class Score:
    """A classifier's share of wrong labels and its mean −log of the probability of the right one, two numbers; `loss`
    is NaN for those that give no probabilities."""

    name: str
    error: float
    loss: float


def plain_classifiers(pairs: Pairs, held_out: Pairs) -> tuple[Score, ...]:
    """How classifiers without layers do on held-out pairs: what any network has to beat.

    The most frequent label; the nearest centroid; ridge regression on ±1, its decay chosen by leave-one-out on the
    training pairs; softmax regression, its decay by cross-validation in five folds of them. Inputs (M, …) are taken
    flat. Raises `ValueError` for targets that are no labels, and for inputs of which some are missing.
    """
    for given in (pairs, held_out):
        if given.targets.ndim != 1 or given.targets.dtype.kind not in "iu":
            raise ValueError(f"Classifiers need integer labels (M,); received {given.targets.dtype}.")
        if np.isnan(given.inputs).any():
            raise ValueError("Classifiers without layers need complete inputs; fill in what was not measured.")
    x, new = (np.reshape(each.inputs, (each.count, -1)) for each in (pairs, held_out))
    y, true = pairs.targets, held_out.targets
    classes = int(max(y.max(), true.max())) + 1
    wrong = lambda scores: float(np.mean(np.argmax(scores, axis=1) != true))
    frequency = (np.bincount(y, minlength=classes) + 0.5) / (len(y) + 0.5 * classes)
    constant = np.broadcast_to(np.log(frequency), (len(new), classes))
    softmax = _softmax(x, y, classes, new)
    return (
        Score("most frequent label", wrong(constant), _loss(constant, true)),
        Score("nearest centroid", wrong(_centroids(x, y, classes, new)), np.nan),
        Score("ridge regression", wrong(_ridge(x, y, classes, new)), np.nan),
        Score("softmax regression", wrong(softmax), _loss(softmax, true)),
    )


def _loss(logits: Float[np.ndarray, "pair label"], labels: Int[np.ndarray, " pair"]) -> float:
    chosen = logits[np.arange(len(labels)), labels]
    return float(np.mean(scipy.special.logsumexp(logits, axis=1) - chosen))


def _centroids(x, y, classes: int, new) -> Float[np.ndarray, "pair label"]:
    """−|x − mean|² for each label; a label without a pair is never chosen."""
    scores = np.full((len(new), classes), -np.inf)
    for label in np.unique(y):
        scores[:, label] = -np.sum((new - x[y == label].mean(axis=0)) ** 2, axis=1)
    return scores


def _ridge(x, y, classes: int, new) -> Float[np.ndarray, "pair label"]:
    """Least squares with the decay of least leave-one-out error, which one singular value decomposition gives."""
    targets = 2.0 * np.eye(classes)[y] - 1.0
    mean, offset = x.mean(axis=0), targets.mean(axis=0)
    left, singular, right = np.linalg.svd(x - mean, full_matrices=False)
    turned = left.T @ (targets - offset)
    found = []
    for decay in _DECAYS:
        shrunk = singular**2 / (singular**2 + decay)
        leverage = np.minimum((left**2) @ shrunk + 1.0 / len(x), 1.0 - 1e-9)
        residual = targets - offset - left @ (shrunk[:, None] * turned)
        found.append((np.sum((residual / (1.0 - leverage)[:, None]) ** 2), decay))
    decay = min(found)[1]
    return (new - mean) @ right.T @ ((singular / (singular**2 + decay))[:, None] * turned) + offset


class _Regression(AbstractProblem):
    """Σ_k s_k (−log p_k) + ½ decay |W|² over (W, b), the offsets b free but for a trace of it."""

    bounds: None
    inputs: Float[Array, "pair input"]
    labels: Int[Array, " pair"]
    share: Float[Array, " pair"]
    decay: Float[Array, ""]

    def cost(self, z):
        weights, offsets = z
        chosen = jnp.take_along_axis(jax.nn.log_softmax(_logits(z, self.inputs)), self.labels[:, None], axis=1)
        prior = self.decay * jnp.sum(weights**2) + 1e-6 * jnp.sum(offsets**2)
        return 0.5 * prior - jnp.sum(self.share * chosen[:, 0])


def _logits(z, inputs):
    return inputs @ z[0] + z[1][None, :]


@eqx.filter_jit
def _regressed(problem: _Regression, z):
    return LBFGS(limit=300).minimise(problem, z, tolerance=1e-7).z


def _softmax(x, y, classes: int, new) -> Float[np.ndarray, "pair label"]:
    folds = np.arange(len(y)) % _FOLDS
    # A fold is a matter of shares, so that one program serves all.
    inputs, labels, none = jnp.asarray(x), jnp.asarray(y), jnp.zeros(classes)
    start = jnp.zeros((x.shape[1], classes)), none
    number = lambda value: jnp.asarray(value, inputs.dtype)

    def paths(share, outside):
        """Logits outside, decay by decay, each search begun where the last ended."""
        z, found = start, []
        for decay in _DECAYS:
            problem = _Regression(None, inputs, labels, number(share), number(decay))
            z = _regressed(problem, z)
            found.append(np.asarray(_logits(z, jnp.asarray(outside))))
        return found

    losses = np.zeros(len(_DECAYS))
    if len(y) >= 2 * _FOLDS:
        for k in range(_FOLDS):
            held = folds == k
            losses += [_loss(logits, y[held]) for logits in paths(~held, x[held])]
    return paths(np.ones(len(y)), new)[int(np.argmin(losses))]
