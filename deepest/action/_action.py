"""From a model, data and a transcription to the action at any R_f."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Int

from deepest.action._axis import acting, check_breaks, lay_out
from deepest.action._checks import check_bounds, check_model
from deepest.action._problem import BOUND, Gaussian, Held, Measurement, PathAction, Relaxation
from deepest.action._weights import check_positive, heaviest, joined, ranged, relative
from deepest.linalg import BlockVector, choose_kernel
from deepest.minimise import Box
from deepest.models import Estimable, Normal
from deepest.paths import Grid, Observations
from deepest.transcription import AbstractTranscription, PathProblem, Weight, points, unpoints

# R_f/R_m that damps steps where nothing links the two sides of an interval: next to nothing.
_FREE = 1e-8
# What the largest relative R_f is taken for where it is traced: rather too much than too little.
_UNTOLD = 1e4


class Action(eqx.Module):
    """−log P(X, θ | Y) up to a constant, for a model, observations and a transcription.

        A = Σ ½ (h(x) − y)ᵀ R_m (h(x) − y) + Σ_n ½ c_nᵀ R_f c_n + priors

    - `model`: a callable `(t, x, args)`, an Equinox module with attribute `dimension` or a plain function with
      `dimension=` beside it; `Unknown`s stand in it or in `args`.
    - `steps`: grid steps an observation interval is cut into; or `step`: the longest a grid step may be, which fills
      gaps; or `grid`: any `Grid` (or times) that spans the observations. Observation times that it lacks become nodes
      of their own, and so do the times at which a `Stimulus` in steps jumps.
    - `breaks`: times (B,) at which the path begins anew, such as the first of every further experiment when several
      stand on one clock and share their parameters. The model does not link the two sides.
    - `model_precision`: the shape of R_f, in relative units: a scalar, (D,) per component, (D, D), or one per
      interval as (K, D) or (K, D, D). The ladder multiplies it. "range" is 1/(upper − lower)² of each component's
      `bounds`, in units of the measured ones' mean: an error of the same part of its range counts the same in each.
    - `convention`: "interval" takes R_f as the precision of a defect c; "continuum" as that of the mismatch
      w = dx/dt − F, so that the term tends to ½ ∫ wᵀ R_f w dt and does not change its meaning when the grid is refined
      (R_f per interval = R_f/δt).
    - `bounds`: (lower, upper) for the state, scalars or (D,), kept exactly.
    - `initial`: a `Normal` prior of the first state, and of the first after each break.

    Times are in the model's units, R_f/R_m in inverse squared units of the state over those of the measurement.
    Raises `ValueError` before anything compiles where any of these do not fit each other.
    """

    estimable: Estimable
    observations: Observations
    transcription: AbstractTranscription
    grid: Grid
    places: Int[np.ndarray, " observation"]
    breaks: Float[np.ndarray, " break"]
    unlinked: tuple[int, ...] = eqx.field(static=True)
    jumps: bool = eqx.field(static=True)
    measurement: Measurement
    count: Float[Array, ""]
    shape: Weight
    drift: Float[Array, "interval varying"]
    widths: Float[Array, " interval"]
    limits: tuple[Float[Array, "2 state"], Float[Array, "2 parameter"]]
    initial: Gaussian
    prior: Gaussian
    reference: Float[Array, ""]
    bounded: bool = eqx.field(static=True)
    convention: Literal["interval", "continuum"] = eqx.field(static=True)

    def __init__(
        self,
        model: Callable,
        observations: Observations,
        transcription: AbstractTranscription,
        *,
        args: Any = None,
        dimension: int | None = None,
        steps: int = 1,
        step: float | None = None,
        grid: Grid | ArrayLike | Sequence | None = None,
        breaks: ArrayLike | Sequence = (),
        model_precision: ArrayLike | Sequence | Literal["range"] = 1.0,
        convention: Literal["interval", "continuum"] = "interval",
        bounds: tuple[ArrayLike | Sequence, ArrayLike | Sequence] | None = None,
        initial: Normal | None = None,
    ):
        if not isinstance(transcription, AbstractTranscription):
            raise ValueError(f"A transcription is an instance, such as HermiteSimpson(); received {transcription!r}.")
        self.estimable = estimable = Estimable(model, args, dimension=dimension)
        observations.check(estimable.dimension)
        self.observations, self.transcription, self.convention = observations, transcription, convention
        self.breaks = check_breaks(breaks, observations.times)
        jumps = estimable.jumps
        self.jumps = jumps.size > 0
        laid = {"steps": steps, "step": step, "grid": grid, "jumps": jumps, "breaks": self.breaks}
        self.grid, unlinked = lay_out(observations.times, transcription, **laid)
        self.unlinked = tuple(unlinked.tolist())
        widths = np.diff(self.grid.times[:: transcription.stride])
        self.widths = _float(widths)
        check_model(estimable, observations)
        self.places = self.grid.locate(observations.times)
        self.measurement = _on_grid(observations, self.grid, self.places, estimable.dimension)
        self.count = _float(observations.count)
        state, shared = _limits(estimable, bounds)
        check_bounds(state, observations)
        self.limits, self.bounded = (_float(state), _float(shared)), bool(np.any(np.isfinite(state)))
        if isinstance(model_precision, str):
            model_precision = ranged(model_precision, state[:, : estimable.dimension], observations)
        self.shape = Weight(relative(model_precision, widths, estimable.dimension, convention))
        volatility = estimable.volatility(float(np.ptp(self.grid.times)))
        self.drift = _float(volatility[None] ** -2.0 / widths[:, None])
        self.initial, self.prior = _initial(initial, estimable), Gaussian(*map(_float, estimable.prior(varying=False)))
        self.reference = _float(observations.reference_precision)

    def at(self, ratio: Float[Array, ""] | float) -> PathAction:
        """The action at R_f = ratio · R_m, as a problem to minimise; `ratio` may be traced.

        At `jnp.inf` the model is exact: the action is that of the measurements and priors under c = 0, for minimisers
        in the primal–dual form.
        """
        ratio, unit = jnp.asarray(ratio, self.reference.dtype), self.reference
        weight = lambda value: Weight(joined(self.shape.value * (value * unit), self.drift))
        inverse = lambda value, drift: Weight(joined(self.shape.inverse().value * (value / unit), drift))
        excess = jnp.where(ratio > BOUND, 1.0 / BOUND, 0.0).astype(unit.dtype)
        relaxation = Relaxation(
            slack=inverse(1.0 / ratio, 1.0 / self.drift),
            excess=inverse(excess, jnp.zeros_like(self.drift)),
            bounded=weight(1.0 / (1.0 / ratio + excess)),
            unit=weight(1.0 / (1.0 / ratio + 1.0 / BOUND)),
            share=1.0 / (1.0 + ratio / BOUND),
        )
        linked, within, widths = self._linked(), weight(ratio), self.widths
        if linked is not None:
            widths = jnp.where(linked > 0.0, widths, jnp.zeros_like(widths))
            within = within.scaled(linked)
            freed = inverse(1.0 / _FREE, 1.0 / (_FREE * self.drift))
            relaxation = dataclasses.replace(relaxation, slack=relaxation.slack.where(linked, freed))
        return PathAction(
            transcription=self.transcription,
            problem=PathProblem(self.estimable, _float(self.grid.times), widths, within, self.jumps, linked),
            relaxation=relaxation,
            measurement=self.measurement,
            held=self._held(),
            prior=self.prior,
            bounds=self._bounds(),
            kernel=choose_kernel(self.estimable.size),
        )

    def observe(
        self,
        values: Float[Array | np.ndarray, "observation measured"] | None = None,
        *,
        precision: Float[Array | np.ndarray, "..."] | None = None,
    ) -> "Action":
        """The same action for other values (K, L) measured at the same times with the same mask, another precision R_m
        (L,) or (K, L) of the values, or both.

        Traceable: both may be batched by `vmap` or differentiated, and what is masked is not looked at. R_f stays what
        it is: ratios go on counting in the R_m of before. Raises `ValueError` for other shapes, and for a precision in
        place of full matrices.
        """
        present, action = self.observations.present, self
        put = lambda given, gridded: jnp.zeros_like(gridded).at[self.places].set(given)
        if values is not None:
            if values.shape != present.shape:
                raise ValueError(f"Values must have shape {present.shape}; received {values.shape}.")
            kept = jnp.where(present, values, jnp.zeros_like(values))
            where = lambda a: (a.observations.values, a.measurement.values)
            action = eqx.tree_at(where, action, (kept, put(kept, self.measurement.values)))
        if precision is not None:
            if self.measurement.weight.ndim != 2 or precision.shape not in (present.shape[1:], present.shape):
                raise ValueError(
                    f"A precision is one number a column {present.shape[1:]} or a value {present.shape}, in place of "
                    f"one that was; received shape {precision.shape}."
                )
            if not isinstance(precision, Tracer) and not np.all(np.asarray(precision) >= 0):
                raise ValueError("The precision must not be negative.")
            kept = jnp.where(present, jnp.broadcast_to(precision, present.shape), 0.0)
            where = lambda a: (a.observations.weight, a.measurement.weight)
            action = eqx.tree_at(where, action, (kept, put(kept, self.measurement.weight)))
        return action

    def weigh(self, model_precision: Float[Array | np.ndarray, "..."]) -> "Action":
        """The same action with another shape of R_f, (D,) or as `model_precision` was in the intervals' own units, such
        as `action.shape.value`; traceable. Raises `ValueError` for another shape, and for what is not positive."""
        shape = self.shape.value.shape
        if model_precision.shape not in (shape[1:], shape):
            raise ValueError(
                f"This model precision has shape {shape[1:]} or {shape}; received {model_precision.shape}."
            )
        if not isinstance(model_precision, Tracer):
            check_positive(np.asarray(model_precision), full=len(shape) == 3)
        return eqx.tree_at(lambda a: a.shape.value, self, jnp.broadcast_to(model_precision, shape))

    def given(self, model: Callable, args: Any = None) -> "Action":
        """The same action with other known numbers in the model and args, which are of the same structure with the same
        unknowns; traceable. Raises `ValueError` for another structure, other ranges or priors of the unknowns, and a
        `Stimulus` that jumps where this grid has no node; of what is traced only the structure can be compared."""
        before, after = (jax.tree.structure(pair) for pair in (self.estimable.template, (model, args)))
        if before != after:
            raise ValueError(f"The model and args must have the structure {before}; received {after}.")
        if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((model, args, self))):
            self._check_given(Estimable(model, args, dimension=self.estimable.dimension))
        return eqx.tree_at(lambda a: a.estimable.template, self, (model, args))

    def _check_given(self, estimable: Estimable) -> None:
        """Raise `ValueError` unless grid and limits are those of this model too."""
        stride = self.transcription.stride
        jumps = acting(estimable.jumps, self.grid.times[::stride], self.breaks)
        again = self.grid.insert(jumps, stride=stride, exact=True)
        if (jumps.size and not self.jumps) or not np.array_equal(again.times, self.grid.times):
            raise ValueError("The stimulus jumps where this action's grid has no node for it: make another Action.")
        known = lambda e: [(*e.bounds(varying=v), *e.prior(varying=v)) for v in (False, True)]
        if not all(map(np.array_equal, *(sum(known(e), ()) for e in (self.estimable, estimable)))):
            raise ValueError("The unknowns must have the ranges and priors that they had: make another Action.")

    @property
    def heaviest(self) -> float:
        """The largest relative R_f, in states and measurements in units of their ranges where these are known; 10⁴
        where this action is traced, and it cannot be told."""
        shape, limits = self.shape.value, self.limits[0]
        if isinstance(shape, Tracer) or isinstance(limits, Tracer):
            return _UNTOLD
        return heaviest(np.asarray(shape), np.asarray(limits), self.observations)

    @property
    def pieces(self) -> list[slice]:
        """Where on the grid each experiment lies: one window of it, or one more for each break."""
        stride = self.transcription.stride
        ends = [stride * k for k in self.unlinked]
        starts = [0, *(end + stride for end in ends)]
        return [slice(*window) for window in zip(starts, [*(end + 1 for end in ends), self.grid.size], strict=True)]

    def _linked(self) -> Float[Array, " interval"] | None:
        """One for each interval that the model links, zero for the others; None where there are no others."""
        if not self.unlinked:
            return None
        count = (self.grid.size - 1) // self.transcription.stride
        return _float(~np.isin(np.arange(count), self.unlinked))

    def _held(self) -> Held:
        """The prior of first states; and the points inside of intervals that nothing links, which must be somewhere."""
        stride, size = self.transcription.stride, self.estimable.size
        firsts = [window.start for window in self.pieces]
        inside = [stride * k + j for k in self.unlinked for j in range(1, stride)]
        prior = [jnp.broadcast_to(x, (len(firsts), size)) for x in (self.initial.mean, self.initial.precision)]
        middle = jnp.broadcast_to(jnp.clip(0.0, *self.limits[0]), (len(inside), size))
        mean, precision = (jnp.concatenate(pair) for pair in zip(prior, (middle, jnp.ones_like(middle)), strict=True))
        return Held((*firsts, *inside), Gaussian(mean, precision))

    def only(self, components: Sequence[int]) -> "Action":
        """The same action with nothing but these components measured; all shapes stay, and what is compiled serves.

        Raises `ValueError` as `Observations.only` does.
        """
        observations = self.observations.only(components)
        measurement = _on_grid(observations, self.grid, self.places, self.estimable.dimension)
        changed = (observations, measurement, _float(observations.count), _float(observations.reference_precision))
        return eqx.tree_at(lambda a: (a.observations, a.measurement, a.count, a.reference), self, changed)

    def _bounds(self) -> Box | None:
        if not self.bounded and self.limits[1].shape[1] == 0:
            return None
        shape = (self.grid.size, self.estimable.size)
        lower, upper = (
            unpoints(jnp.broadcast_to(state[None], shape), shared, self.transcription.stride)
            for state, shared in zip(*self.limits, strict=True)
        )
        return Box(lower, upper, self.bounded)

    def pack(self, path: Float[Array, "time state"], parameters: Float[Array, " parameter"]) -> BlockVector:
        """A path (N, D) and parameters (P,) as the block vector that a minimiser moves."""
        return unpoints(path, parameters, self.transcription.stride)

    def unpack(self, z: BlockVector) -> tuple[Float[Array, "time state"], Float[Array, " parameter"]]:
        """The inverse of `pack`."""
        return points(z, self.transcription.stride), z.shared

    def level(self, cost: Float[Array | np.ndarray, "..."]) -> Float[Array | np.ndarray, "..."]:
        """The reduced level 2A/n for n measured values, about 1 at the truth when R_m = 1/σ²."""
        return 2.0 * cost / self.count


def _float(x: ArrayLike | Sequence) -> Array:
    return jnp.asarray(x, jnp.result_type(float))


def _on_grid(observations: Observations, grid: Grid, index: np.ndarray, size: int) -> Measurement:
    values = np.zeros((grid.size, *observations.values.shape[1:]))
    weight = np.zeros((grid.size, *observations.weight.shape[1:]))
    values[index], weight[index] = observations.values, observations.weight
    return Measurement(_float(values), _float(weight), observations.components, observations.operator, size)


def _limits(estimable: Estimable, bounds) -> tuple[np.ndarray, np.ndarray]:
    own = np.array([[-np.inf], [np.inf]]) * np.ones(estimable.dimension)
    if bounds is not None:
        if len(bounds) != 2:
            raise ValueError(f"State bounds are a pair (lower, upper); received {len(bounds)} entries.")
        if not all(np.shape(b) in ((), (estimable.dimension,)) for b in bounds):
            raise ValueError(
                f"State bounds must be scalars or have shape ({estimable.dimension},); received shapes "
                f"{[np.shape(b) for b in bounds]}."
            )
        own = np.stack([np.broadcast_to(np.asarray(b, float), (estimable.dimension,)) for b in bounds])
        if not np.all((own[0] <= own[1]) & (own[0] < np.inf) & (own[1] > -np.inf)):
            k = int(np.argmin((own[0] <= own[1]) & (own[0] < np.inf) & (own[1] > -np.inf)))
            raise ValueError(f"State bounds need lower ≤ upper; component {k} has {own[0, k]:g} and {own[1, k]:g}.")
    state = np.concatenate([own, np.stack(estimable.bounds(varying=True))], axis=1)
    shared = np.stack(estimable.bounds(varying=False))
    return state, shared


def _initial(initial: Normal | None, estimable: Estimable) -> Gaussian:
    size = estimable.dimension
    mean, precision = np.zeros(size), np.zeros(size)
    if initial is not None:
        shapes = initial.mean.shape, initial.deviation.shape
        if not set(shapes) <= {(), (size,)}:
            raise ValueError(
                f"The prior initial= of the first state must be scalar or ({size},); received mean {shapes[0]} and "
                f"deviation {shapes[1]}."
            )
        mean = np.broadcast_to(initial.mean, (size,))
        precision = np.broadcast_to(initial.deviation**-2.0, (size,))
    parts = zip((mean, precision), estimable.prior(varying=True), strict=True)
    return Gaussian(*(_float(np.concatenate(part)) for part in parts))
