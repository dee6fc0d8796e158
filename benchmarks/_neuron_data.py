"""Pieces of several sweeps on one clock."""

import sys
from pathlib import Path

import numpy as np

from deepest.models import Stimulus

EXAMPLE = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLE / "neuron"))
import cell  # noqa: E402

TRAIN = (182, 184)
# ms. A rest that is long enough for the gates to have settled, the step's onset, and the relaxation after its end.
PIECES = ((500.0, 950.0), (2690.0, 2850.0))
# Where nothing but the membrane moves, a sample every 2 ms says as much as one every 0.25 ms.
DENSE = ((699.0, 2712.0),)
GAP = 1.0


def joined(held: cell.Sweeps) -> tuple[np.ndarray, np.ndarray, Stimulus, list[float]]:
    """Times (K,), voltages (K, 1), the current, and where a piece begins anew."""
    times, values, breaks, knots, currents = [], [], [], [], []
    clock = 0.0
    for number in TRAIN:
        sweep = held.numbers.index(number)
        for begin, end in PIECES:
            chosen = _chosen(held.times, begin, end)
            at = held.times[chosen] - begin + clock
            breaks.append(at[0])
            times.append(at)
            values.append(held.voltages[sweep, chosen])
            rest, step = held.currents[sweep]
            for knot in (begin, *(edge for edge in cell.STEP if begin < edge < end)):
                knots.append(knot - begin + clock)
                currents.append(step if cell.STEP[0] <= knot < cell.STEP[1] else rest)
            clock = at[-1] + GAP
    stimulus = Stimulus(knots, currents, "steps")
    return np.concatenate(times), np.concatenate(values)[:, None], stimulus, breaks[1:]


def _chosen(times: np.ndarray, begin: float, end: float) -> np.ndarray:
    inside = np.flatnonzero((times >= begin) & (times < end))
    dense = (times[inside] >= DENSE[0][0]) & (times[inside] < DENSE[0][1])
    return inside[dense | (np.arange(inside.size) % 8 == 0)]
