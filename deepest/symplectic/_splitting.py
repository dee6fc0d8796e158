"""Explicit methods for separable Hamiltonians H = T(t, p) + V(t, x): drifts and kicks in turn."""

import abc
import dataclasses
import math
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractClassVar
from jax import lax
from jaxtyping import PyTree

from deepest.symplectic._base import AbstractSymplectic, pair


@dataclasses.dataclass(frozen=True)
class SplittingTableau:
    """Coefficients of drifts a_1 … a_{s+1} and kicks b_1 … b_s: x moves by a_1, p by b_1, x by a_2, and so on.

    `drifts` (s + 1,) and `kicks` (s,) are checked at construction to be of the declared `order`: with A and B the
    generators of drift and kick, e^{a_1 A} e^{b_1 B} e^{a_2 A} … must agree with e^{A + B} in the coefficient of every
    word of up to `order` letters, and not in all of one letter more.
    """

    drifts: np.ndarray
    kicks: np.ndarray
    order: int

    def __post_init__(self):
        defect = self.defects()
        if max(defect[: self.order]) > 1e-13:
            raise ValueError(
                f"These coefficients are of order {np.argmax(np.array(defect) > 1e-13)}, not {self.order}."
            )
        if defect[self.order] < 1e-8:
            raise ValueError(f"These coefficients are of an order higher than {self.order}.")

    def defects(self) -> list[float]:
        """For words of 1, 2, … order + 1 letters the largest difference to e^{A + B}."""
        length = self.order + 1
        product = _exponential(self.drifts[0], 0, length)
        for kick, drift in zip(self.kicks, self.drifts[1:], strict=True):
            product = _times(_times(product, _exponential(kick, 1, length)), _exponential(drift, 0, length))
        return [float(np.max(np.abs(product[k] - 1.0 / math.factorial(k)))) for k in range(1, length + 1)]

    @property
    def symmetric(self) -> bool:
        """Whether the coefficients read the same from both ends, to rounding."""
        alike = lambda a: bool(np.max(np.abs(a - a[::-1])) < 1e-14)
        return alike(self.drifts) and alike(self.kicks)

    @staticmethod
    def composed(weights: np.ndarray, order: int) -> "SplittingTableau":
        """Steps of half a drift, a kick, half a drift, of the lengths `weights` (s,), their drifts joined."""
        half = 0.5 * np.asarray(weights)
        return SplittingTableau(np.append(half, 0.0) + np.insert(half, 0, 0.0), np.asarray(weights), order)


def _exponential(coefficient: float, letter: int, length: int) -> list[np.ndarray]:
    """e^{a X}, X one of two letters: coefficients of all words, by their number of letters."""
    words = [np.zeros(2**k) for k in range(length + 1)]
    for k, word in enumerate(words):
        word[(2**k - 1) * letter] = coefficient**k / math.factorial(k)
    return words


def _times(left: list[np.ndarray], right: list[np.ndarray]) -> list[np.ndarray]:
    """The product of two power series in letters that do not commute."""
    return [np.sum([np.outer(left[j], right[k - j]).ravel() for j in range(k + 1)], axis=0) for k in range(len(left))]


def _palindrome(half: list[float], middle: float) -> np.ndarray:
    return np.array([*half, middle, *half[::-1]])


def _symmetric(half: list[float]) -> np.ndarray:
    """Weights that read the same from both ends and sum to one, from all but the middle one."""
    return _palindrome(half, 1.0 - 2.0 * math.fsum(half))


def _blanes_moan(drifts: list[float], kicks: list[float], order: int) -> SplittingTableau:
    """A symmetric tableau from the free coefficients of its first half."""
    last = 0.5 - math.fsum(kicks)
    return SplittingTableau(_symmetric(drifts), np.array([*kicks, last, last, *kicks[::-1]]), order)


_CUBE = 2.0 ** (1.0 / 3.0)
_EULER = SplittingTableau(np.array([1.0, 0.0]), np.array([1.0]), 1)
_YOSHIDA4 = SplittingTableau.composed(_symmetric([1.0 / (2.0 - _CUBE)]), 4)
_YOSHIDA6 = SplittingTableau.composed(_symmetric([0.784513610477557, 0.235573213359359, -1.17767998417887]), 6)
_KAHAN_LI8 = SplittingTableau.composed(
    _symmetric(
        [
            0.74167036435061295344822780,
            -0.40910082580003159399730010,
            0.19075471029623837995387626,
            -0.57386247111608226665638773,
            0.29906418130365592384446354,
            0.33462491824529818378495798,
            0.31529309239676659663205666,
        ]
    ),
    8,
)
_BLANES_MOAN4 = _blanes_moan(
    [0.0792036964311957, 0.353172906049774, -0.0420650803577195], [0.209515106613362, -0.143851773179818], 4
)
_BLANES_MOAN6 = _blanes_moan(
    [0.0502627644003922, 0.413514300428344, 0.0450798897943977, -0.188054853819569, 0.541960678450780],
    [0.148816447901042, -0.132385865767784, 0.067307604692185, 0.432666402578175],
    6,
)


class AbstractSeparable(AbstractSymplectic):
    """A solver for `diffeqsolve((drift, kick), solver, …)` with y = (x, p).

    The terms are dx/dt = ∂T/∂p(t, p), called as (t, p, args), and dp/dt = −∂V/∂x(t, x), called as (t, x, args): the
    structure of `diffrax.SemiImplicitEuler`, and what `mechanics.separable_terms` makes.
    """

    term_structure: ClassVar = (diffrax.AbstractTerm, diffrax.AbstractTerm)

    @property
    @abc.abstractmethod
    def symmetric(self) -> bool:
        """Whether a step with −h undoes a step with h."""

    def func(self, terms, t0, y0, args):
        drift, kick = terms
        x, p = pair(y0, type(self).__name__)
        return drift.vf(t0, p, args), kick.vf(t0, x, args)


class AbstractSplitting(AbstractSeparable):
    """An explicit solver given by a `SplittingTableau`.

    Time is carried along with each half, so that T and V may depend on it.
    """

    tableau: AbstractClassVar[SplittingTableau]

    @property
    def declared(self) -> int:
        return self.tableau.order

    @property
    def symmetric(self) -> bool:
        return self.tableau.symmetric

    def init(self, terms, t0, t1, y0, args):
        del terms, t0, t1, y0, args

    def advance(self, terms, t0, t1, y0, args, state, jumped):
        del jumped
        (drift, kick), step, dtype = terms, t1 - t0, jnp.result_type(t0)
        along, against = drift.contr(t0, t1), kick.contr(t0, t1)

        def moved(term, share, control, t, other, own):
            return _add(own, term.vf_prod(t, other, args, share * control))

        def both(carry, shares):
            (x, p, drifted, kicked), (a, b) = carry, shares
            x = moved(drift, a, along, t0 + kicked * step, p, x)
            p = moved(kick, b, against, t0 + (drifted + a) * step, x, p)
            return (x, p, drifted + a, kicked + b), None

        drifts, kicks = (jnp.asarray(c, dtype) for c in (self.tableau.drifts, self.tableau.kicks))
        none = jnp.zeros((), dtype)
        (x, p, _, kicked), _ = lax.scan(both, (*y0, none, none), (drifts[:-1], kicks), unroll=min(4, kicks.size))
        if self.tableau.drifts[-1]:
            x = moved(drift, drifts[-1], along, t0 + kicked * step, p, x)
        return (x, p), state, diffrax.RESULTS.successful


def _add(own: PyTree, change: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, own, change)


class SymplecticEuler(AbstractSplitting):
    """x_1 = x_0 + h ∂T/∂p(p_0), p_1 = p_0 − h ∂V/∂x(x_1): first order, one kick a step. Source: [hairer2006]."""

    tableau: ClassVar[SplittingTableau] = _EULER


class StormerVerlet(AbstractSeparable):
    """Half a kick, a drift, half a kick (velocity Verlet, leapfrog): second order, reversible.

    One force a step, since the last of a step is the first of the next. It is the variational integrator of the
    trapezoid rule. Source: [hairer2006].
    """

    @property
    def declared(self) -> int:
        return 2

    @property
    def symmetric(self) -> bool:
        return True

    def init(self, terms, t0, t1, y0, args):
        del t1
        return terms[1].vf(t0, y0[0], args)

    def advance(self, terms, t0, t1, y0, args, state, jumped):
        (drift, kick), (x, p) = terms, y0
        half = 0.5 * kick.contr(t0, t1)
        force = lax.cond(jumped, lambda: kick.vf(t0, x, args), lambda: state)
        p = _add(p, kick.prod(force, half))
        x = _add(x, drift.vf_prod(t0 + 0.5 * (t1 - t0), p, args, drift.contr(t0, t1)))
        force = kick.vf(t1, x, args)
        return (x, _add(p, kick.prod(force, half))), force, diffrax.RESULTS.successful


class Yoshida4(AbstractSplitting):
    """Three steps of second order, the middle one backward: fourth order, 3 kicks a step, reversible.

    `BlanesMoan4` has a far smaller error at equal cost. Source: [yoshida1990].
    """

    tableau: ClassVar[SplittingTableau] = _YOSHIDA4


class Yoshida6(AbstractSplitting):
    """Seven steps of second order (solution A): sixth order, 7 kicks a step, reversible. Source: [yoshida1990]."""

    tableau: ClassVar[SplittingTableau] = _YOSHIDA6


class KahanLi8(AbstractSplitting):
    """Fifteen steps of second order: eighth order, 15 kicks a step, reversible. Source: [kahan1997]."""

    tableau: ClassVar[SplittingTableau] = _KAHAN_LI8


class BlanesMoan4(AbstractSplitting):
    """Fourth order with small error constants, 6 kicks a step, reversible. Source: [blanes2002]."""

    tableau: ClassVar[SplittingTableau] = _BLANES_MOAN4


class BlanesMoan6(AbstractSplitting):
    """Sixth order with small error constants, 10 kicks a step, reversible. Source: [blanes2002]."""

    tableau: ClassVar[SplittingTableau] = _BLANES_MOAN6
