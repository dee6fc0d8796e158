"""A cell of two compartments, to be estimated from current clamp (see NOTICE.md for the recordings).

Units: mV, ms, pA, pF and nS, so that pF · mV/ms = nS · mV = pA. They stand where `Neuron` writes µA/cm², µF/cm² and
mS/cm², because the area of a cell in the dish is not known.
"""

from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import numpy as np

from deepest.models import Channel, Compartments, Gate, Neuron, Stimulus, Unknown

FOLDER = Path(__file__).parent
# The step begins and ends between two samples; the sample at 700 ms is the first to see it.
STEP = (700.0, 2700.0)
JUNCTION = 14.0  # mV, to be subtracted: the package's own figure
# MΩ. The recorded voltage jumps against the current, by 14 MΩ at the first sample after an edge while it moves by
# 12 MΩ from there to the third: the bridge takes away too much.
BRIDGE = 20.0


class Cell(eqx.Module):
    """Sodium, potassium and an M current at the soma, which takes the current; a leak in the dendrite.

    State (6,): the soma's voltage in mV, the gates Na.m, Na.h, K.n and M.w, and the dendrite's voltage. `current` in pA
    is a function of t. All but the reversal potentials of sodium and potassium are unknown.
    """

    body: Compartments

    def __init__(self, current: Callable):
        channels = {
            "Na": Channel(
                Unknown(100.0, 8000.0),
                50.0,
                {
                    "m": Gate(Unknown(-60.0, -20.0), Unknown(5.0, 25.0), Unknown(0.02, 0.3), 0.0, 3),
                    "h": Gate(Unknown(-85.0, -45.0), Unknown(-25.0, -5.0), Unknown(0.3, 4.0), 0.0),
                },
            ),
            "K": Channel(
                Unknown(20.0, 4000.0),
                -90.0,
                {"n": Gate(Unknown(-50.0, 10.0), Unknown(8.0, 35.0), Unknown(0.2, 3.0), Unknown(0.0, 6.0), 4)},
            ),
            "M": Channel(
                Unknown(0.5, 100.0),
                -90.0,
                {"w": Gate(Unknown(-65.0, -25.0), Unknown(3.0, 25.0), Unknown(5.0, 80.0), Unknown(0.0, 100.0))},
            ),
        }
        soma = Neuron(channels, current, capacitance=Unknown(8.0, 50.0))
        leak = Channel(Unknown(1.0, 12.0), Unknown(-100.0, -60.0))
        dendrite = Neuron({"leak": leak}, 0.0, capacitance=Unknown(50.0, 200.0))
        # With equal shares the conductance between the compartments is twice `coupling`.
        self.body = Compartments(soma, dendrite, Unknown(2.0, 30.0), 0.5)

    @property
    def dimension(self) -> int:
        """Six."""
        return self.body.dimension

    @property
    def states(self) -> tuple[str, ...]:
        """Their names, for pictures."""
        return self.body.states

    def __call__(self, t, x, args):
        return self.body(t, x, args)


LOWER = (-120.0, 0.0, 0.0, 0.0, 0.0, -110.0)
UPPER = (60.0, 1.0, 1.0, 1.0, 1.0, 20.0)


class Sweeps(eqx.Module):
    """The recordings: times (T,) in ms, voltages (S, T) in mV, corrected for junction and bridge, and the step's
    current in pA before and during it, (S, 2)."""

    numbers: tuple[int, ...] = eqx.field(static=True)
    times: np.ndarray
    voltages: np.ndarray
    currents: np.ndarray

    def stimulus(self, sweep: int) -> Stimulus:
        """The current of one sweep. The monitor's noise is white, and not the cell's; the means are taken."""
        rest, step = self.currents[sweep]
        return Stimulus([0.0, *STEP], [rest, step, rest], "steps")


def sweeps() -> Sweeps:
    """All five, as they stand in the file."""
    held = np.load(FOLDER / "b6.npz")
    times = held["interval"] * np.arange(held["voltage"].shape[1])
    on = (times >= STEP[0]) & (times < STEP[1])
    inside, outside = on & (times > STEP[0] + 10.0), times < STEP[0] - 10.0
    currents = np.stack([held["current"][:, part].mean(axis=1) for part in (outside, inside)], axis=1)
    flowing = np.where(on, currents[:, 1:], currents[:, :1])
    voltages = held["voltage"] - JUNCTION + 1e-3 * BRIDGE * flowing
    return Sweeps(tuple(held["sweep"].tolist()), times, voltages, currents)
