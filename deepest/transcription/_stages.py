"""Coefficients of collocation at Gauss and Lobatto points."""

import dataclasses

import numpy as np
from numpy.polynomial import Legendre


@dataclasses.dataclass(frozen=True)
class PartitionedTableau:
    """An implicit Runge–Kutta method for x and another for p, on the same nodes c (s,) with the same weights b (s,).

    `first` and `second` (s, s) are the coefficients a_ij of x and â_ij of p. Checked at construction: the pair is
    symplectic, b_i â_ij + b_j a_ji = b_i b_j, the quadrature is of the declared `order`, Σ b_i c_i^k = 1/(k + 1)
    for k < order, and `first` collocates, Σ_j a_ij c_j^k = c_i^{k+1}/(k + 1) for k < s.
    """

    nodes: np.ndarray
    weights: np.ndarray
    first: np.ndarray
    second: np.ndarray
    order: int

    def __post_init__(self):
        b, c = self.weights, self.nodes
        symplectic = b[:, None] * self.second + (b[:, None] * self.first).T - np.outer(b, b)
        powers = np.arange(max(self.order, c.size))
        quadrature = (b @ c[:, None] ** powers - 1.0 / (powers + 1))[: self.order]
        stages = (self.first @ c[:, None] ** powers - c[:, None] ** (powers + 1) / (powers + 1))[:, : c.size]
        for what, defect in (
            ("symplectic", symplectic),
            (f"of order {self.order}", quadrature),
            ("collocation", stages),
        ):
            if np.max(np.abs(defect)) > 1e-14:
                raise ValueError(f"These coefficients are not {what}: they miss it by {np.max(np.abs(defect)):.2g}.")

    @staticmethod
    def paired(nodes: np.ndarray, order: int) -> "PartitionedTableau":
        """Collocation on `nodes` for x, and for p the one partner that makes the pair symplectic."""
        # Integrals of the Lagrange polynomials from 0 to c, by a Gauss rule that is exact for them.
        places, shares = np.polynomial.legendre.leggauss(nodes.size)
        to = lambda c: 0.5 * c * shares @ lagrange(nodes, 0.5 * c * (1.0 + places))
        weights, first = to(1.0), np.stack([to(c) for c in nodes])
        second = weights - first.T * weights / weights[:, None]
        return PartitionedTableau(nodes, weights, first, second, order)


def lagrange(nodes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Polynomials that are one at one of `nodes` (s,) and zero at the others, at `places` (r,): (r, s).

    By products, whose rounding stays small where that of coefficients grows.
    """
    rows = [[(places - other) / (node - other) for other in np.delete(nodes, j)] for j, node in enumerate(nodes)]
    return np.stack([np.prod([np.ones_like(places), *row], axis=0) for row in rows], axis=1)


def gauss_nodes(stages: int) -> np.ndarray:
    """The zeros (s,) of Legendre's polynomial on (0, 1), a number of them."""
    return 0.5 * (1.0 + np.polynomial.legendre.leggauss(stages)[0])


def lobatto_nodes(stages: int) -> np.ndarray:
    """0, the extrema (s − 2,) of Legendre's polynomial on (0, 1), and 1."""
    inside = np.sort(Legendre.basis(stages - 1).deriv().roots().real)
    return 0.5 * (1.0 + np.concatenate([[-1.0], inside, [1.0]]))
