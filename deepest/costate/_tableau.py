"""A step of an explicit Runge–Kutta method and its transpose: the stages of the costate."""

import dataclasses
from collections.abc import Callable, Sequence

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Explicit:
    """c_i, rows a_ij (j < i) and b_i of s stages, as Python floats, so that they take the dtype of what they weigh."""

    nodes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    @property
    def needed(self) -> tuple[bool, ...]:
        """Whether y_1 depends on a stage; it does not on the last of a method whose last stage starts the next step."""
        needed = [False] * len(self.weights)
        for i in reversed(range(len(self.weights))):
            later = any(needed[j] and self.rows[j][i] != 0.0 for j in range(i + 1, len(self.weights)))
            needed[i] = self.weights[i] != 0.0 or later
        return tuple(needed)


def explicit(solver: diffrax.AbstractSolver, who: str) -> Explicit:
    """The coefficients of a solver, or a `ValueError` in the name of who asks."""
    # diffrax writes Euler's method out, without a tableau.
    if isinstance(solver, diffrax.Euler):
        return Explicit((0.0,), ((),), (1.0,))
    tableau = solver.tableau if isinstance(solver, diffrax.AbstractERK) else None
    if not isinstance(tableau, diffrax.ButcherTableau):
        raise ValueError(
            f"{who} expects an explicit Runge–Kutta solver of one tableau (diffrax.AbstractERK, or diffrax.Euler); "
            f"received {type(solver).__name__}."
        )
    rows = ((), *(tuple(map(float, row)) for row in tableau.a_lower))
    return Explicit((0.0, *map(float, tableau.c)), rows, tuple(map(float, tableau.b_sol)))


def linearised(
    tableau: Explicit, rate: Callable, start: Array, end: Array, y: PyTree[Array], model: PyTree, every: bool = False
) -> tuple[PyTree[Array], list, Callable]:
    """One step y_1 = y_0 + Σ_i b_i k_i, k_i = h F(t_i, Y_i), Y_i = y_0 + Σ_j a_ij k_j, and its transpose.

    `rate(t, Y, model)` is h F. Gives y_1, the stages k_i (None for those not needed, unless `every`), and
    `pull(bar, shares)`, which takes the derivatives of a scalar by y_1, and by k_i directly (or None), to those by y_0
    and by the inexact arrays of `model`:

        l_i = h DF(Y_i)ᵀ (b_i λ_1 + share_i + Σ_{j>i} a_ji l_j),   λ_0 = λ_1 + Σ_i l_i.

    With share = 0, and b_i ≠ 0, these are the stages of the costate in the partitioned method that is symplectic with
    the given one, its coefficients b_j a_ji / b_i: l_i = h b_i DF(Y_i)ᵀ Λ_i. In l_i nothing is divided by b_i, which is
    zero in most methods of high order. Source: [sanzserna2016].
    """
    slopes, transposes = [], []
    for node, row, needed in zip(tableau.nodes, tableau.rows, tableau.needed, strict=True):
        if not (needed or every):
            slopes.append(None)
            transposes.append(None)
            continue
        # No rounding in the time of a stage at the end, as in diffrax.
        time = end if node == 1.0 else start + node * (end - start)
        at = lambda place, model, time=time: rate(time, place, model)
        slope, transpose = jax.vjp(at, weighted(y, row, slopes), model)
        slopes.append(slope)
        transposes.append(transpose)

    def pull(bar: PyTree[Array], shares: Sequence | None = None) -> tuple[PyTree[Array], PyTree]:
        pulled, before, by_model = [None] * len(slopes), bar, jax.tree.map(jnp.zeros_like, model)
        for i in reversed(range(len(slopes))):
            if transposes[i] is None:
                continue
            column = [0.0 if j <= i else tableau.rows[j][i] for j in range(len(slopes))]
            push = jax.tree.map(lambda leaf, i=i: tableau.weights[i] * leaf, bar)
            push = weighted(push, column, pulled)
            push = push if shares is None else added(push, shares[i])
            pulled[i], more = transposes[i](push)
            before, by_model = added(before, pulled[i]), added(by_model, more)
        return before, by_model

    return weighted(y, tableau.weights, slopes), slopes, pull


def advanced(tableau: Explicit, rate: Callable, start: Array, end: Array, y: PyTree[Array], model: PyTree):
    """y_1 alone."""
    slopes = []
    for node, row, needed in zip(tableau.nodes, tableau.rows, tableau.needed, strict=True):
        time = end if node == 1.0 else start + node * (end - start)
        slopes.append(rate(time, weighted(y, row, slopes), model) if needed else None)
    return weighted(y, tableau.weights, slopes)


def rate(whole: Callable, start: Array, end: Array) -> Callable:
    """`(t, y, model)` → h F of one step (with a control, its change for h), `whole(model)` being (terms, args)."""

    def product(t: Array, y: PyTree[Array], model: PyTree) -> PyTree[Array]:
        terms, args = whole(model)
        return terms.vf_prod(t, y, args, terms.contr(start, end))

    return product


def added(one: PyTree, other: PyTree) -> PyTree:
    """The sum, leaf by leaf."""
    return jax.tree.map(jnp.add, one, other)


def weighted(y: PyTree[Array], weights: Sequence[float], slopes: Sequence) -> PyTree[Array]:
    """y + Σ_j w_j k_j, where what has no weight is left out."""
    for weight, slope in zip(weights, slopes, strict=False):
        if weight != 0.0 and slope is not None:
            y = jax.tree.map(lambda a, k, w=weight: a + w * k, y, slope)
    return y
