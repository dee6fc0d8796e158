"""Whether a model, an operator and bounds fit what was measured, before anything is computed."""

import jax
import jax.numpy as jnp
import numpy as np

from deepest.models import Estimable
from deepest.paths import Observations

# So many deviations of the noise, and a tenth of the range, may what is measured lie outside of its bounds.
_OUTSIDE = 10.0


def check_model(estimable: Estimable, observations: Observations) -> None:
    """Trace the model once, without compiling, to see that it returns what a vector field must."""
    dtype = jnp.result_type(float)
    like = lambda *shape: jax.ShapeDtypeStruct(shape, dtype)
    size, parameters = estimable.dimension, len(estimable.names)
    varying = len(estimable.varying_names)
    model = lambda t, x, p, v: (lambda f: f[0](t, x, f[1]))(estimable.fill(p, v))
    returned = []

    def traced(*arguments):
        returned.append(model(*arguments))
        return returned[0] if hasattr(returned[0], "shape") else None

    try:
        rate = jax.eval_shape(traced, like(), like(size), like(parameters), like(varying))
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as error:
        raise ValueError(
            "The model must be traceable: written with jax.numpy in place of numpy, and jnp.where in place of if."
        ) from error
    if rate is None or rate.shape != (size,):
        raise ValueError(
            f"The model must return dx/dt of shape ({size},) for a state of that shape; it returned "
            f"{type(returned[0]).__name__ if rate is None else rate.shape}."
        )
    if rate.dtype != dtype:
        raise ValueError(f"The model must keep the dtype {dtype}; it returned {rate.dtype}.")
    measured = jax.eval_shape(observations.measure, like(size))
    if measured.dtype != dtype:
        raise ValueError(f"The operator must keep the dtype {dtype}; it returned {measured.dtype}.")
    if measured.shape != observations.values.shape[1:]:
        raise ValueError(
            f"The operator must return shape {observations.values.shape[1:]}, one entry a column of the values; it "
            f"returned {measured.shape}."
        )


def check_bounds(limits: np.ndarray, observations: Observations) -> None:
    """Raise `ValueError` where a component was measured far outside of its bounds (2, D)."""
    if observations.components is None:
        return
    lower, upper = limits[:, list(observations.components)]
    values, present = np.asarray(observations.values), np.asarray(observations.present)
    weight = np.asarray(observations.weight)
    diagonal = weight if weight.ndim == 2 else np.diagonal(weight, axis1=1, axis2=2)
    deviations = np.where(diagonal > 0.0, diagonal, np.inf) ** -0.5
    allowed = np.maximum(_OUTSIDE * deviations, np.nan_to_num(0.1 * (upper - lower), posinf=0.0))
    outside = present & ((values < lower - allowed) | (values > upper + allowed))
    if np.any(outside):
        k, column = np.argwhere(outside)[0]
        raise ValueError(
            f"Component {observations.components[column]} was measured as {values[k, column]:g} at "
            f"{observations.times[k]:g}, far outside of its bounds, {lower[column]:g} and {upper[column]:g}."
        )
