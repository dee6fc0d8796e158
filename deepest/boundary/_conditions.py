"""What holds at the two ends."""

import abc
from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from deepest.boundary._problem import AbstractProblem, Variational

Cost = Callable[[Float[Array, " state"]], Float[Array, ""]]
Given = Mapping[int, ArrayLike] | ArrayLike | Sequence | None


class AbstractBoundary(eqx.Module):
    """As many conditions as y has components, and one more for each unknown parameter."""

    @abc.abstractmethod
    def residual(
        self,
        problem: AbstractProblem,
        start: Float[Array, " state"],
        end: Float[Array, " state"],
        q: Float[Array, " parameter"],
    ) -> Float[Array, " condition"]:
        """g(y(t_0), y(t_1), q), zero where the conditions hold."""


class Conditions(AbstractBoundary):
    """Any conditions: `function(ya, yb, q)` returns what must be zero, (M + P,); as scipy's `solve_bvp` takes them."""

    function: Callable

    def residual(self, problem, start, end, q):
        return self.function(start, end, q)


class Periodic(AbstractBoundary):
    """y(t_1) = y(t_0).

    For a `Variational` problem, x and p; for a `System`, only where it has no unknown parameters.
    """

    def residual(self, problem, start, end, q):
        if not isinstance(problem, Variational):
            return end - start
        (x0, p0, s0), (x1, p1, _) = problem.split(start), problem.split(end)
        return jnp.concatenate([x1 - x0, p1 - p0, s0, problem.transversal(end, q)])


class Ends(AbstractBoundary):
    """Of a `Variational` problem: components given at an end, and the natural condition for all others.

        x_i = given,   or   p(t_0) = +∂φ_0/∂x_i,   p(t_1) = −∂φ_1/∂x_i

    with φ the cost of that end, zero if there is none. Made by `natural`, `fixed`, `end_costs` and `mixed`.
    """

    start: dict[int, Float[Array, ""]]
    end: dict[int, Float[Array, ""]]
    start_cost: Cost | None = None
    end_cost: Cost | None = None

    def residual(self, problem, start, end, q):
        if not isinstance(problem, Variational):
            raise ValueError("A System has no momenta and so no natural ends: give it Conditions or Periodic.")
        x0, p0, s0 = problem.split(start)
        x1, p1, _ = problem.split(end)
        first = self._one(x0, p0, self.start, self.start_cost, 1.0)
        last = self._one(x1, p1, self.end, self.end_cost, -1.0)
        return jnp.concatenate([first, last, s0, problem.transversal(end, q)])

    @staticmethod
    def _one(x, p, given, cost, sign):
        for component in given:
            if not 0 <= component < x.size:
                raise ValueError(f"Component {component} is given at an end; x has components 0 to {x.size - 1}.")
        free = p if cost is None else p - sign * jax.grad(cost)(x)
        return jnp.stack([x[i] - given[i] if i in given else free[i] for i in range(x.size)])


def natural() -> Ends:
    """p = 0 at both ends: nothing is asked of the path there."""
    return Ends({}, {})


def fixed(start: ArrayLike | Sequence, end: ArrayLike | Sequence) -> Ends:
    """x(t_0) = start and x(t_1) = end, (D,) each."""
    return Ends(_given(start), _given(end))


def end_costs(start: Cost | None = None, end: Cost | None = None) -> Ends:
    """φ_0(x(t_0)) and φ_1(x(t_1)), scalars, are added to the action: p(t_0) = ∂φ_0/∂x, p(t_1) = −∂φ_1/∂x."""
    return Ends({}, {}, start, end)


def mixed(
    start: Given = None, end: Given = None, *, start_cost: Cost | None = None, end_cost: Cost | None = None
) -> Ends:
    """{component: value} at either end, an array (D,) for all components; the rest is natural, with an end's cost."""
    return Ends(_given(start), _given(end), start_cost, end_cost)


def _given(values: Given) -> dict[int, Array]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        if np.ndim(values) != 1:
            raise ValueError(f"Given ends have shape (D,); received shape {np.shape(values)}.")
        values = dict(enumerate(jnp.asarray(values)))
    return {int(i): jnp.asarray(value, jnp.result_type(float)) for i, value in values.items()}
