"""Meshes that a defect asks for."""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Refine:
    """Refine the mesh until no interval's defect is above `tolerance`, relative, with at most `intervals` of them.

    Nodes move to where the defect is, so that all intervals come to the same; their number doubles as often as the
    method's order says is needed. Raises `ValueError` unless both are positive. Source: [ascher1995], [kierzenka2001].
    """

    tolerance: float = 1e-6
    intervals: int = 4096

    def __post_init__(self):
        if not self.tolerance > 0 or self.intervals < 1:
            raise ValueError(
                f"Refinement needs tolerance > 0 and intervals ≥ 1; received {self.tolerance} and {self.intervals}."
            )

    def mesh(
        self, times: Float[np.ndarray, " node"], defects: Float[np.ndarray, " interval"], power: int
    ) -> Float[np.ndarray, " finer"] | None:
        """The next mesh, where the defect goes with an interval's width to the `power`; None where that is too many."""
        need = (defects / (0.5 * self.tolerance)) ** (1.0 / power)
        # Neighbours share, and no interval is left without nodes: a layer may yet move.
        padded = np.pad(need, 1, mode="edge")
        need = np.maximum(np.maximum(padded[:-2], padded[2:]) * 0.5, need)
        need = np.maximum(need, 0.1 * need.mean())
        count = times.size - 1
        doublings = max(1, int(np.ceil(np.log2(max(need.sum(), 1.0) / count))))
        while doublings > 1 and count * 2**doublings > self.intervals:
            doublings -= 1
        wanted = count * 2 ** min(doublings, 3)
        if wanted > self.intervals:
            return None
        along = np.concatenate([[0.0], np.cumsum(need)])
        new = np.interp(np.linspace(0.0, along[-1], wanted + 1), along, times)
        new[[0, -1]] = times[[0, -1]]
        return new
