"""A whole ladder as one compiled function, for many starts."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from deepest._program import program
from deepest.ensemble import spread
from deepest.minimise import AbstractMinimiser, DampedNewton, Joint, Representers
from deepest.networks._action import NetworkAction, NetworkProblem
from deepest.networks._end_cost import SquaredError
from deepest.networks._pairs import Pairs
from deepest.networks._roads import forward, rung_ended


class Climbed(eqx.Module):
    """What became of several starts on every rung, and the weights where each of them ended, with a leading axis.

    - `levels` (rung, member): reduced levels 2A/measured; `steps` (rung, member): Gauss–Newton steps taken.
    - `errors`, `held_out` (rung, member): mean square errors of the forward pass on training and held-out pairs, in
      units of the targets' measurement variance; `held_out` is NaN without such pairs.
    """

    ratios: Float[np.ndarray, " rung"]
    levels: Float[Array, "rung member"]
    errors: Float[Array, "rung member"]
    held_out: Float[Array, "rung member"]
    steps: Int[Array, "rung member"]
    weights: PyTree[Array]

    @property
    def order(self) -> Int[np.ndarray, " member"]:
        """Members by their level on the last rung, the lowest first; those that are not finite last."""
        return np.argsort(np.asarray(self.levels[-1]), stable=True)

    def distinct(self, tolerance: float = 0.01) -> list[np.ndarray]:
        """The levels on each rung that differ: from one to the next by more than `tolerance` of the greater, or by more
        than `tolerance` itself below 1, which is where the noise alone puts a level."""
        return [_apart(row, tolerance) for row in np.asarray(self.levels)]


class _Member(eqx.Module):
    z: Joint
    damping: Float[Array, ""]
    levels: Float[Array, " rung"]
    errors: Float[Array, " rung"]
    held_out: Float[Array, " rung"]
    steps: Int[Array, " rung"]


def climb(
    action: NetworkAction,
    starts: Sequence[Joint],
    ratios: Sequence[float] | Float[np.ndarray, " rung"],
    *,
    held_out: Pairs | None = None,
    minimiser: AbstractMinimiser = DampedNewton(limit=100, form=Representers()),
    tolerance: float = 1e-6,
) -> Climbed:
    """Minimise the action of a squared error at every R_f/R_m of a ladder, from every start.

    - `starts`: weights and states to begin with, such as `action.start(network)` of several networks.
    - `ratios` (rung,): R_f/R_m, ascending; infinity, at the end, takes the network as exact.
    - `held_out`: pairs on which every rung is judged, by a forward pass from their inputs as measured.
    - `minimiser`: what a rung does; it ends where a step promises less than `tolerance` of the action.

    All is one program, compiled once for all starts; `fit` is for one start, and shows, keeps and stops. Raises
    `ValueError` for ratios that do not ascend from above zero, for no start, and for held-out pairs that do not fit.
    """
    ratios = np.asarray(ratios, float)
    if ratios.ndim != 1 or not ratios.size or not (ratios > 0).all() or not (ratios[1:] > ratios[:-1]).all():
        raise ValueError(f"Ratios R_f/R_m are one or more numbers that ascend from above zero; received {ratios}.")
    if not starts:
        raise ValueError("A ladder is climbed from at least one start; received none.")
    if not isinstance(action.cost, SquaredError):
        raise ValueError(f"climb gives levels and errors of a SquaredError; received {type(action.cost).__name__}.")
    highest = minimiser.highest(action.unit.dtype)
    if ratios[-1] > highest:
        raise ValueError(f"This way to minimise goes up to R_f/R_m = {highest:.2g}; received {ratios[-1]:.2g}.")
    judges = [NetworkAction(action.network, pairs, cost=action.cost) for pairs in (action.pairs, held_out) if pairs]
    problems = [judge.at(jnp.inf) for judge in judges]
    dtype = action.unit.dtype
    empty = jnp.full(ratios.size, jnp.nan, dtype)
    begin = lambda z: _Member(z, jnp.asarray(1e-2, dtype), empty, empty, empty, jnp.zeros(ratios.size, int))
    members = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(begin, starts))
    precisions = action.unit * jnp.asarray(ratios, dtype)
    end = _climbed(action.at(1.0), problems, members, precisions, minimiser, jnp.asarray(tolerance, dtype))
    levels = action.level(end.levels.T)
    return Climbed(ratios, levels, end.errors.T, end.held_out.T, end.steps.T, end.z.weights)


@program
def _climbed(problem: NetworkProblem, judges, members: _Member, precisions, minimiser, tolerance) -> _Member:
    def rung(carry, precision):
        z, damping = carry
        here = eqx.tree_at(lambda p: p.precision, problem, precision)
        found = rung_ended(here, minimiser, z, damping, tolerance)
        errors = [_error(judge, found.z.weights) for judge in judges]
        return (found.z, found.damping), (found.cost, errors[0], errors[-1], found.steps)

    def whole(member: _Member) -> _Member:
        (z, damping), rows = lax.scan(rung, (member.z, member.damping), precisions)
        costs, errors, held_out, steps = rows
        held_out = held_out if len(judges) > 1 else member.held_out
        return _Member(z, damping, costs, errors, held_out, steps)

    return spread(whole, members, jnp.ones(members.damping.shape, bool))


def _error(problem: NetworkProblem, weights: PyTree[Array]) -> Float[Array, ""]:
    """The mean of w (z − y)² over what is measured, w = 1/σ²."""
    data = problem.data
    costs = jax.vmap(problem.end)(forward(problem, weights), data.target, data.weight)
    return 2.0 * jnp.sum(costs) / jnp.sum(jnp.where(data.weight > 0, 1.0, 0.0))


def _apart(levels: np.ndarray, tolerance: float) -> np.ndarray:
    ordered = np.sort(levels[np.isfinite(levels)])
    gaps = np.diff(ordered) > tolerance * np.maximum(ordered[1:], 1.0)
    return ordered[np.insert(gaps, 0, True)] if ordered.size else ordered
