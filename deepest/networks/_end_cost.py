"""What the last layer is measured by."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepest.minimise import EndCost


class AbstractEndCost(eqx.Module):
    """The cost Φ(z; y) of an output z (n,), flattened, that should have been y, with weights w."""

    @abc.abstractmethod
    def taken(self, targets: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Targets (M, …) in the type that Φ takes, or `ValueError` where they do not belong to outputs of a shape."""

    @abc.abstractmethod
    def __call__(self, output: Float[Array, " output"], target: Array, weight: Array) -> Float[Array, ""]:
        """Φ, a scalar."""

    @abc.abstractmethod
    def local(self, output: Float[Array, " output"], target: Array, weight: Array) -> EndCost:
        """Its gradient, and a factor B (n, n) of its positive semidefinite Hessian B Bᵀ."""

    @abc.abstractmethod
    def error(self, outputs: Float[Array, "pair output"], targets: Array, weights: Array) -> Float[Array, ""]:
        """A number that people look at, for M outputs: 0 is perfect."""

    @abc.abstractmethod
    def ignorant(self, targets: Array, weights: Array, outputs: int) -> Float[Array, " output"]:
        """The one output (n,) that serves best for all targets: the baseline that any network should beat."""

    @abc.abstractmethod
    def weights(self, targets: np.ndarray, precision: np.ndarray) -> np.ndarray:
        """w of every target, zero where it is missing."""


class SquaredError(AbstractEndCost):
    """Φ = ½ Σ_i w_i (z_i − y_i)², w_i = R_m = 1/σ² where y_i is measured and 0 where it is NaN.

    Its `error` is the mean square error in units of the measured targets' variance about their mean, which makes that
    of the mean 1.
    """

    def taken(self, targets, shape, dtype):
        if targets.shape[1:] != shape:
            raise ValueError(
                f"Targets must have the shape of the network's outputs, (M, {', '.join(map(str, shape))}), NaN where a "
                f"component is not measured; received {targets.shape}."
            )
        return targets.astype(dtype)

    def __call__(self, output, target, weight):
        return 0.5 * jnp.sum(weight * (output - _filled(target).ravel()) ** 2)

    def local(self, output, target, weight):
        return EndCost(weight * (output - _filled(target).ravel()), jnp.diag(jnp.sqrt(weight)))

    def error(self, outputs, targets, weights):
        mean = self.ignorant(targets, weights, outputs.shape[1])
        flat = _filled(targets).reshape(outputs.shape)
        total = lambda given: jnp.sum(weights * (given - flat) ** 2)
        return total(outputs) / total(jnp.broadcast_to(mean, outputs.shape))

    def ignorant(self, targets, weights, outputs):
        flat = _filled(targets).reshape(-1, outputs)
        return jnp.sum(weights * flat, axis=0) / jnp.maximum(jnp.sum(weights, axis=0), jnp.finfo(flat.dtype).tiny)

    def weights(self, targets, precision):
        measured = np.isfinite(targets).reshape(len(targets), -1)
        return np.where(measured, precision, 0.0)


class CrossEntropy(AbstractEndCost):
    """Φ = −w log softmax(z)_y for labels y in 0 … n − 1, w = 1. Its `error` is the share of wrong labels."""

    def taken(self, targets, shape, dtype):
        if len(shape) != 1:
            raise ValueError(f"Labels belong to a network whose output has shape (n,); it has {shape}.")
        if targets.ndim != 1 or targets.dtype.kind not in "iu":
            raise ValueError(f"Cross-entropy expects integer labels (M,); received {targets.dtype}{targets.shape}.")
        if targets.min() < 0 or targets.max() >= shape[0]:
            wrong = targets.min() if targets.min() < 0 else targets.max()
            raise ValueError(f"Labels must be 0 … {shape[0] - 1}, one an output; received {wrong}.")
        return targets

    def __call__(self, output, target, weight):
        return -weight * jax.nn.log_softmax(output)[target]

    def local(self, output, target, weight):
        share = jax.nn.softmax(output)
        # diag(s) − s sᵀ = B Bᵀ with B = diag(r) (1 − r rᵀ), r = √s, because r is a unit vector.
        root = jnp.sqrt(share)
        factor = jnp.sqrt(weight) * (jnp.diag(root) - jnp.outer(share, root))
        return EndCost(weight * (share - jax.nn.one_hot(target, output.size, dtype=output.dtype)), factor)

    def error(self, outputs, targets, weights):
        return jnp.mean((jnp.argmax(outputs, axis=1) != targets).astype(outputs.dtype))

    def ignorant(self, targets, weights, outputs):
        counts = jnp.bincount(targets, length=outputs).astype(weights.dtype)
        # A label that never occurred keeps a finite logit.
        return jnp.log((counts + 0.5) / jnp.sum(counts + 0.5))

    def weights(self, targets, precision):
        if not (precision == 1.0).all():
            raise ValueError("Labels have no noise for cross-entropy to weigh them by: leave the noise of Pairs at 1.")
        return np.ones(len(targets))


def _filled(target: Array) -> Array:
    return jnp.nan_to_num(target)
