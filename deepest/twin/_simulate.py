"""A truth, and what can be seen of it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from deepest.action import Action
from deepest.models import Estimable, Unknown
from deepest.paths import Grid, Observations
from deepest.transcription import AbstractTranscription
from deepest.twin._follow import follow

# The spin-up takes the truth onto the attractor, the climate is measured there: both in lengths of the window.
_SPIN_UP, _CLIMATE = 10.0, 50.0


@dataclasses.dataclass(frozen=True)
class Climate:
    """Mean and standard deviation (D,) of each component over a long run of the true model, in the state's units."""

    mean: Float[np.ndarray, " state"]
    deviation: Float[np.ndarray, " state"]

    @staticmethod
    def of(path: Float[np.ndarray, "time state"]) -> "Climate":
        """That of a long path (T, D)."""
        return Climate(path.mean(axis=0), path.std(axis=0))


@dataclasses.dataclass(frozen=True)
class Twin:
    """A synthetic experiment, of which the truth is known.

    - `action`: what there is to minimise; its observations are the noisy, partial view of the truth.
    - `truth` (N, D): the true path on the action's grid; `parameters` (P,): the true values of the unknowns, in the
      action's order, NaN for one that the true model does not have.
    - `beyond` (T, D) on `beyond_times` (T,): the true path from the last time of the data on, to score forecasts;
      its first row is the truth's last.
    - `climate`: what a forecast without any skill knows.
    - `model`, `args`: the true model, with numbers.
    """

    action: Action
    truth: Float[np.ndarray, "time state"]
    parameters: Float[np.ndarray, " parameter"]
    varying: Float[np.ndarray, " varying"]
    beyond_times: Float[np.ndarray, " forecast"]
    beyond: Float[np.ndarray, "forecast state"]
    climate: Climate
    model: Callable
    args: Any

    @property
    def times(self) -> Float[np.ndarray, " time"]:
        """Times (N,) of the grid, in the model's units."""
        return self.action.grid.times

    @property
    def measured(self) -> tuple[int, ...]:
        """The components that were measured; none where an operator was."""
        return self.action.observations.measured

    @property
    def unmeasured(self) -> tuple[int, ...]:
        """The components that were not."""
        return tuple(c for c in range(self.truth.shape[1]) if c not in self.measured)

    @property
    def true_parameters(self) -> dict[str, float]:
        """The true values of the unknowns, by name."""
        return dict(zip(self.action.estimable.names, self.parameters.tolist(), strict=True))

    def only(self, components: Sequence[int]) -> "Twin":
        """The same truth and the same noise, with nothing but these components measured.

        Other values become missing, so that all shapes stay and nothing compiles again. Raises `ValueError` where a
        component was not measured.
        """
        return dataclasses.replace(self, action=self.action.only(components))


def simulate(
    model: Callable,
    estimated: Callable,
    transcription: AbstractTranscription,
    *,
    times: ArrayLike,
    noise: ArrayLike,
    key: PRNGKeyArray,
    components: Sequence[int] | None = None,
    operator: Callable[[Float[Array, " state"]], Float[Array, " measured"]] | None = None,
    beyond: float = 0.0,
    steps: int = 1,
    args: Any = None,
    estimated_args: Any = None,
    dimension: int | None = None,
    start: ArrayLike | None = None,
    spin_up: float | None = None,
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
    model_precision: ArrayLike | Literal["range"] = 1.0,
) -> Twin:
    """Run the true `model`, observe it with noise, and put the action of the `estimated` model beside it.

        x(t) from the model to rounding,   y_k = h(x(t_k)) + noise · N(0, 1)

    - `model`: the truth, with numbers; `estimated`: the model to estimate, with an `Unknown` where a number is to be
      found, usually the same class. True values are read where the `Unknown`s stand; a different estimated model, for
      twins with model error, has none, and its parameters are not scored. `args`, `estimated_args` likewise.
    - `times` (K,): observation times, in the model's units; `steps` grid steps an observation interval.
    - `noise`: standard deviation of the measurement error: a scalar, (L,), (K, 1) or (K, L).
    - `components` or `operator`: what is measured, as in `Observations`.
    - `beyond`: how long the truth goes on after the data, in time units, in steps of the grid's last.
    - `start` (D,): where the truth's run begins, `spin_up` time units before a long run that measures the climate and
      ends where the data begin. Default: standard normal, ten windows earlier. With `spin_up` 0 the truth begins with
      the data, as a driven or transient one must, and its climate is that of the window.
    - `bounds`, `model_precision`: of the estimated path and its equations, as in `Action`; a precision of "range" goes
      by the bounds.

    Raises `ValueError`, before anything is integrated, for what `Action` and `Observations` refuse, and for a true
    value out of the range in which it is to be found; and where the true model does not stay finite.
    """
    if not (np.isfinite(beyond) and beyond >= 0):
        raise ValueError(f"The truth goes on beyond the data for a time of at least 0; received beyond={beyond}.")
    estimable = Estimable(estimated, estimated_args, dimension=dimension)

    def observe(values):
        return Observations(times, values, components=components, operator=operator, noise=noise)

    def act(values):
        grid = Grid(times).refine(steps)
        return Action(
            estimated, observe(values), transcription, args=estimated_args, dimension=dimension, grid=grid,
            bounds=bounds, model_precision=model_precision,
        )  # fmt: skip

    width = _width(components, operator, estimable.dimension)
    action = act(np.zeros((np.size(times), width)))
    parameters, varying = (_true_values(estimable, (model, args), varies) for varies in (False, True))
    seed, disturb = jax.random.split(key)
    flow = _Flow(model, args, action.grid, beyond, spin_up)
    history, truth, after = flow.run(_start(start, estimable.dimension, seed))
    clean = jax.vmap(action.observations.measure)(jnp.asarray(truth[action.grid.locate(times)]))
    error = jax.random.normal(disturb, clean.shape, clean.dtype) * np.asarray(noise)
    return Twin(
        action=act(np.asarray(clean + error)),
        truth=truth,
        parameters=parameters,
        varying=varying,
        beyond_times=flow.beyond,
        beyond=after,
        climate=Climate.of(history if history.size else truth),
        model=model,
        args=args,
    )


class _Flow:
    """The true model's run: a spin-up, the climate, the window of the data and what comes after, in one go."""

    def __init__(self, model: Callable, args: Any, grid: Grid, beyond: float, spin_up: float | None):
        self.model, self.args, self.window = model, args, grid.times
        duration, step = float(np.ptp(self.window)), float(self.window[-1] - self.window[-2])
        self.beyond = self.window[-1] + step * np.arange(int(np.floor(beyond / step + 1e-6)) + 1)
        spin_up = _SPIN_UP * duration if spin_up is None else spin_up
        if not (np.isfinite(spin_up) and spin_up >= 0):
            raise ValueError(f"A spin-up takes a positive time, or none; received spin_up={spin_up}.")
        count = int(_CLIMATE * duration / step) if spin_up else 0
        climate = self.window[0] - step * np.arange(count, 0, -1)
        self.history = np.append(climate[0] - spin_up, climate) if spin_up else climate

    def run(self, start: Float[Array, " state"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Paths (·, D) of the climate, the window and beyond."""
        times = np.concatenate([self.history, self.window, self.beyond[1:]])
        path = follow(self.model, start, times, self.args)
        if not np.all(np.isfinite(path)):
            raise ValueError(
                "The true model did not stay finite on its way to the data; start it closer to its attractor with "
                "start=, or check its parameters."
            )
        first, last = self.history.size, self.history.size + self.window.size
        return path[1:first], path[first:last], path[last - 1 :]


def _width(components: Sequence[int] | None, operator: Callable | None, dimension: int) -> int:
    """How many values are measured at a time."""
    if operator is not None:
        return jax.eval_shape(operator, jax.ShapeDtypeStruct((dimension,), jnp.result_type(float))).shape[0]
    return dimension if components is None else len(components)


def _start(start: Any, dimension: int, key: PRNGKeyArray) -> Float[Array, " state"]:
    dtype = jnp.result_type(float)
    if start is None:
        return jax.random.normal(key, (dimension,), dtype)
    if np.shape(start) != (dimension,):
        raise ValueError(f"The truth starts at a state of shape ({dimension},); received shape {np.shape(start)}.")
    return jnp.asarray(start, dtype)


def _is_unknown(x: Any) -> bool:
    return isinstance(x, Unknown)


def _true_values(estimable: Estimable, truth: tuple[Callable, Any], varies: bool) -> np.ndarray:
    """What stands in the true model where the unknowns stand in the estimated one; NaN where nothing does."""
    known, _ = jax.tree_util.tree_flatten_with_path(truth, is_leaf=_is_unknown)
    if any(_is_unknown(leaf) for _, leaf in known):
        raise ValueError("The true model must have numbers everywhere; it has an Unknown. Pass that one as estimated=.")
    at = {jax.tree_util.keystr(path): leaf for path, leaf in known}
    opened, _ = jax.tree_util.tree_flatten_with_path(estimable.template, is_leaf=_is_unknown)
    places = [(path, leaf) for path, leaf in opened if _is_unknown(leaf) and bool(leaf.varies) == varies]
    values = [_value(jax.tree_util.keystr(path), at, leaf) for path, leaf in places]
    values = np.concatenate(values) if values else np.zeros(0)
    names = estimable.varying_names if varies else estimable.names
    for name, value, low, high in zip(names, values, *estimable.bounds(varying=varies), strict=True):
        if value < low or value > high:
            raise ValueError(
                f"The true {name} = {value:g} lies outside the range {low:g} to {high:g} in which it is to be found."
            )
    return values


def _value(place: str, known: dict[str, Any], unknown: Unknown) -> np.ndarray:
    if place not in known:
        return np.full(unknown.size, np.nan)
    try:
        return np.broadcast_to(np.asarray(known[place], float), unknown.lower.shape).ravel()
    except (TypeError, ValueError):
        return np.full(unknown.size, np.nan)
