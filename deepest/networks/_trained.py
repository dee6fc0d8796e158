"""What a training was, and the network that came of it."""

import dataclasses
import enum

import numpy as np
from jaxtyping import Float, Int

from deepest.networks._network import AbstractNetwork

# Where the forward pass is not better than the best constant by this much, nothing was learned.
_COLLAPSED = 0.9


class Ending(enum.Enum):
    """How a training ended; the value is the sentence that says so."""

    finished = "All stages were done."
    settled = "The last stages changed next to nothing, and the rest were left out."
    diverged = "A stage gave weights that are not finite; those of the stage before it were kept."


@dataclasses.dataclass(frozen=True)
class History:
    """One number a stage (N,): R_f/R_m, the action A, its reduced level, errors and mean end costs of the forward pass
    on the training and the held-out pairs (NaN without), Gauss–Newton or gradient steps, and seconds since the start,
    compilation included.

    A small action at a small R_f is no evidence that the map is learned; the forward pass is what predicts.
    """

    ratio: Float[np.ndarray, " stage"]
    action: Float[np.ndarray, " stage"]
    level: Float[np.ndarray, " stage"]
    error: Float[np.ndarray, " stage"]
    loss: Float[np.ndarray, " stage"]
    held_out_error: Float[np.ndarray, " stage"]
    held_out_loss: Float[np.ndarray, " stage"]
    steps: Int[np.ndarray, " stage"]
    seconds: Float[np.ndarray, " stage"]

    @staticmethod
    def of(rows: list[dict]) -> "History":
        """From one dictionary a stage, with a scalar for each name."""
        column = lambda name: np.array([row[name] for row in rows], int if name == "steps" else float)
        return History(**{field.name: column(field.name) for field in dataclasses.fields(History)})


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    - `network`: as the last stage left it; `best`: of the stage with the lowest held-out error, `best_stage`; without
      held-out pairs the last.
    - `history`: stage by stage; `baseline`: the errors of the best constant output of the training pairs, two numbers,
      on them and on the held-out ones.
    - `ending`: how it ended.
    """

    network: AbstractNetwork
    best: AbstractNetwork
    best_stage: int
    history: History
    baseline: tuple[float, float]
    ending: Ending

    @property
    def collapsed(self) -> bool:
        """Whether the forward pass predicts the training pairs hardly better than a constant."""
        # Targets that do not vary, as of a single pair, have no unit of error, and say nothing of it.
        return not np.isnan(self.baseline[0]) and not self.history.error[-1] < _COLLAPSED * self.baseline[0]

    @property
    def report(self) -> str:
        """A table of all stages, the baseline below."""
        head = f"{'R_f/R_m':>9} {'action':>11} {'level':>9} {'error':>9} {'held out':>9} {'loss':>9} {'held out':>9}"
        lines = [head + f" {'steps':>6} {'s':>7}"]
        h = self.history
        for k in range(h.ratio.size):
            mark = " *" if k == self.best_stage else ""
            numbers = (h.level[k], h.error[k], h.held_out_error[k], h.loss[k], h.held_out_loss[k])
            columns = " ".join(f"{number:9.4g}" for number in numbers)
            lines.append(f"{h.ratio[k]:9.2g} {h.action[k]:11.5g} {columns} {h.steps[k]:6d} {h.seconds[k]:7.1f}{mark}")
        lines.append(f"{'the best constant output':>31} {self.baseline[0]:9.4g} {self.baseline[1]:9.4g}")
        lines.append(self.ending.value)
        return "\n".join(lines)
