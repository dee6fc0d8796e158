"""Input/output pairs: the measurements of the first and the last layer."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Shaped


class Pairs(eqx.Module):
    """M inputs and the outputs that belong to them.

    - `inputs` (M, …) and `targets` (M, …), or labels (M,), integers. NaN is what was not measured.
    - `noise`: standard deviation of the targets' measurement error, a number or one an output (…); R_m = 1/noise².
    - `input_noise`: the same of the inputs, which are then unknowns too. None takes them as exact.
    - `input_prior`: mean and standard deviation, two numbers or arrays (…), of inputs that were not measured.

    Raises `ValueError` for counts that differ, for no pairs, for what is not finite (NaN where allowed excepted), for
    unmeasured inputs without a prior, and for noise that is not positive.
    """

    inputs: Shaped[np.ndarray, "pair *input"]
    targets: Shaped[np.ndarray, "pair *target"]
    noise: Any
    input_noise: Any
    input_prior: tuple[Any, Any] | None

    def __init__(
        self,
        inputs: ArrayLike,
        targets: ArrayLike,
        *,
        noise: ArrayLike = 1.0,
        input_noise: ArrayLike | None = None,
        input_prior: tuple[ArrayLike, ArrayLike] | None = None,
    ):
        dtype = np.dtype(jnp.result_type(float))
        self.inputs = np.asarray(inputs, dtype)
        given = np.asarray(targets)
        self.targets = given.astype(dtype) if given.dtype.kind == "f" else given
        self.noise, self.input_noise = _positive("noise", noise), _positive("input_noise", input_noise)
        self.input_prior = None
        if input_prior is not None:
            mean, deviation = input_prior
            if not np.isfinite(np.asarray(mean, dtype)).all():
                raise ValueError(f"The mean of input_prior is finite; received {mean}.")
            self.input_prior = np.asarray(mean, dtype), _positive("The deviation of input_prior", deviation)
        self._check()

    def _check(self):
        if self.inputs.ndim < 2:
            raise ValueError(f"Inputs have a leading axis for the pairs, (M, …); received shape {self.inputs.shape}.")
        if self.targets.ndim < 1 or len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise ValueError(
                f"Pairs are as many inputs as targets; received shapes {self.inputs.shape} and {self.targets.shape}."
            )
        if self.targets.dtype.kind not in "fiu":
            raise ValueError(f"Targets are numbers or integer labels; received {self.targets.dtype}.")
        for name, array in (("inputs", self.inputs), ("targets", self.targets)):
            if array.dtype.kind == "f" and np.isinf(array).any():
                raise ValueError(f"The {name} hold an infinity, first at pair {_first(np.isinf(array))}.")
        missing = np.isnan(self.inputs)
        if missing.any() and self.input_prior is None:
            raise ValueError(
                f"The inputs hold NaN, first at pair {_first(missing)}: give input_prior=(mean, deviation) for what "
                "was not measured, or drop it."
            )

    @staticmethod
    def of_components(
        inputs: ArrayLike,
        targets: ArrayLike,
        *,
        components: tuple[Sequence[int], Sequence[int]],
        widths: tuple[int, int],
        **options: Any,
    ) -> "Pairs":
        """Pairs of which only some components are measured: inputs (M, L_in) and targets (M, L_out), the numbers of
        their neurons in `components`, of `widths` neurons in the first and the last layer. `options` are `Pairs`'.

        Raises `ValueError` for more components than neurons, or a number that is none of theirs."""
        given = zip(("input", "target"), (inputs, targets), components, widths, strict=True)
        full = [_scattered(*each) for each in given]
        return Pairs(*full, **options)

    @property
    def count(self) -> int:
        """M."""
        return len(self.inputs)

    def take(self, index: ArrayLike | slice) -> "Pairs":
        """The pairs at an index (K,), a slice or a mask (M,)."""
        index = np.asarray(index) if not isinstance(index, slice) else index
        inputs, targets = self.inputs[index], self.targets[index]
        return Pairs(inputs, targets, noise=self.noise, input_noise=self.input_noise, input_prior=self.input_prior)


def _positive(name: str, value) -> Any:
    if value is None:
        return None
    value = np.asarray(value, np.dtype(jnp.result_type(float)))
    if not (np.isfinite(value) & (value > 0)).all():
        raise ValueError(f"{name} is a standard deviation, positive and finite; received {value}.")
    return value


def _scattered(name: str, array: ArrayLike, components: Sequence[int], width: int) -> np.ndarray:
    """The columns of an array at their places among `width`, NaN elsewhere."""
    array, where = np.asarray(array, float), np.asarray(components, int)
    if where.size > width:
        raise ValueError(f"A layer of {width} neurons cannot have {where.size} measured {name} components.")
    if np.unique(where).size < where.size or (where < 0).any() or (where >= width).any():
        raise ValueError(
            f"{name.title()} components are different numbers in 0 … {width - 1}; received {[*components]}."
        )
    if array.ndim != 2 or array.shape[1] != where.size:
        raise ValueError(f"Expected {name}s of shape (M, {where.size}), a column each; received {array.shape}.")
    wide = np.full((len(array), width), np.nan)
    wide[:, where] = array
    return wide


def _first(mask: np.ndarray) -> int:
    return int(np.argwhere(mask)[0, 0])
