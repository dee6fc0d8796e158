"""Where the system went."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from deepest.anneal import Estimate, Result
from deepest.paths import Observations
from deepest.plot._style import accent, ink, legend, panels


@runtime_checkable
class Continued(Protocol):
    """A path (T, D) on times (T,), such as `Result.forecast` gives."""

    @property
    def times(self) -> Float[np.ndarray, " forecast"]:
        """When, in the model's units."""
        ...

    @property
    def path(self) -> Float[np.ndarray, "forecast state"]:
        """Where, in the state's units."""
        ...


def path(
    result: Result,
    components: Sequence[int | str] | None = None,
    truth: Float[np.ndarray, "time state"] | None = None,
    forecast: Continued | None = None,
    forecast_truth: Float[np.ndarray, "forecast state"] | None = None,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
) -> np.ndarray:
    """The best path against time, with the data where there are any, a panel a component.

    - `components`: state components by number, and unknowns that vary by name; without it two that were measured and
      two that were not, and the first two unknowns that vary.
    - `truth` (N, D): the true path on the result's grid, where one knows it.
    - `forecast`: what `result.forecast(until)` returned; beyond the data the panels are shaded. `forecast_truth`
      (T, D): the true path on its times.

    Drawn into `ax`, one Axes a component, or into a figure of its own; returns the Axes (panel,). Time and states are
    in the model's units. Raises `ValueError` for a component that does not exist or a true path of another shape.
    """
    best = result.best
    chosen = _defaults(result) if components is None else list(components)
    for component in chosen:
        _check_component(best, component)
    _check_shape("truth", truth, best.path)
    _check_shape("forecast_truth", forecast_truth, None if forecast is None else forecast.path)
    axes = panels(ax, len(chosen), 1, len(chosen))
    for one, component in zip(axes, chosen, strict=True):
        if forecast is not None:
            one.axvspan(forecast.times[0], forecast.times[-1], color=ink(), alpha=0.08, linewidth=0)
            one.axvline(forecast.times[0], color=ink(), alpha=0.4, linewidth=0.8)
        if isinstance(component, str):
            one.plot(*_pieces(result, best.varying[component]), label="estimate", **_estimate())
        else:
            _component(one, result, component, truth, forecast, forecast_truth)
        one.set_ylabel(_name(result, component))
        one.margins(x=0.01)
    for one in axes[-1:] if ax is None else axes:
        one.set_xlabel("time, in the model's units")
    legend(axes, own=ax is None)
    return axes


def _pieces(result: Result, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of a line that is broken where the path begins anew."""
    windows, times = result.action.pieces, result.action.grid.times
    broken = lambda values: np.concatenate([np.append(values[window], np.nan) for window in windows])[:-1]
    return broken(times), broken(column)


def _component(ax: Axes, result: Result, k: int, truth, forecast: Continued | None, forecast_truth) -> None:
    best, observations = result.best, result.action.observations
    ax.plot(*_pieces(result, best.path[:, k]), label="estimate", **_estimate())
    _data(ax, observations, k)
    true = {"color": ink(), "linestyle": (0, (4, 2)), "linewidth": 1.0, "zorder": 2.6}
    if truth is not None:
        ax.plot(*_pieces(result, truth[:, k]), label="truth", **true)
    if forecast is not None:
        ax.plot(forecast.times, forecast.path[:, k], color=accent(2), linewidth=2.0, label="forecast")
    if forecast is not None and forecast_truth is not None:
        ax.plot(forecast.times, forecast_truth[:, k], label="truth", **true)


def _data(ax: Axes, observations: Observations, k: int) -> None:
    """The measured values of component k, at the times at which there are any."""
    measured = observations.components or ()
    if k not in measured:
        return
    column = measured.index(k)
    seen = np.asarray(observations.present)[:, column]
    times, values = np.asarray(observations.times)[seen], np.asarray(observations.values)[seen, column]
    dots = {"linestyle": "none", "marker": "o", "markersize": 2.6, "alpha": 0.8, "zorder": 2.4}
    ax.plot(times, values, color=accent(1), label="data", **dots)


def _estimate() -> dict:
    return {"color": accent(0), "linewidth": 2.0}


def _defaults(result: Result) -> list[int | str]:
    estimable, observations = result.action.estimable, result.action.observations
    measured = observations.measured
    if observations.components is None:
        return [*range(min(4, estimable.dimension)), *estimable.varying_names[:2]]
    others = [k for k in range(estimable.dimension) if k not in measured]
    seen = sorted(measured)[: max(2, 4 - len(others))]
    return [*seen, *others[: max(2, 4 - len(seen))], *estimable.varying_names[:2]]


def _name(result: Result, component: int | str) -> str:
    observations = result.action.observations
    if isinstance(component, str):
        return component
    states = getattr(result.action.estimable.template[0], "states", None)
    name = f"$x_{{{component}}}$" if states is None else states[component]
    hidden = observations.components is not None and component not in observations.measured
    return name + ("\nnot measured" if hidden else "")


def _check_component(best: Estimate, component: int | str) -> None:
    size = best.path.shape[1]
    if isinstance(component, str):
        if component not in best.varying:
            have = ", ".join(best.varying) or "none"
            raise ValueError(
                f'Components of the state are numbers, unknowns that vary have names: {have}; received "{component}".'
            )
    elif not 0 <= component < size:
        raise ValueError(f"Components lie between 0 and {size - 1}; received {component}.")


def _check_shape(name: str, given: np.ndarray | None, like: np.ndarray | None) -> None:
    if given is None:
        return
    if like is None:
        raise ValueError(f"{name} needs the forecast beside it: pass forecast=result.forecast(until=…).")
    if np.shape(given) != like.shape:
        raise ValueError(f"{name} must have the shape {like.shape} of the path beside it; received {np.shape(given)}.")
