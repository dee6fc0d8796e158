"""One rung for all members, which is what gets compiled; and the whole ladder as one traceable function."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from deepest.action import Action
from deepest.anneal._ladder import Ladder
from deepest.anneal._prune import Prune
from deepest.ensemble import spread
from deepest.linalg import BlockVector
from deepest.minimise import AbstractMinimiser, DampedNewton, PrimalDual, Status, implicit

# A rung needs its minimum only well enough to start the next one; the last is worth polishing.
ROUGH, FINE = 1e-4, 1e-12


def suited(ratio: float, dtype: type | np.dtype) -> AbstractMinimiser:
    """The minimiser to use where none is given: normal equations as far as the dtype's precision carries them, since
    their steps are the same and cost a tenth, and beyond it the primal–dual form."""
    usual = DampedNewton()
    return usual if ratio <= usual.highest(dtype) else DampedNewton(form=PrimalDual())


class Members(eqx.Module):
    """An ensemble at one moment: unknowns with a leading member axis, and where each member stands."""

    z: BlockVector
    damping: Float[Array, "*member"]
    cost: Float[Array, "*member"]
    steps: Int[Array, "*member"]
    status: Int[Array, "*member"]

    @staticmethod
    def start(
        action: Action, paths: Float[Array, "member time state"], parameters: Float[Array, "member parameter"]
    ) -> "Members":
        """Members at their starting paths (member, N, D) and parameters (member, P)."""
        count, dtype = paths.shape[0], paths.dtype
        z = jax.vmap(action.pack)(paths, parameters)
        none = jnp.zeros(count, int)
        return Members(z, jnp.ones(count, dtype), jnp.full(count, jnp.inf, dtype), none, none + Status.step_limit)


def advance(
    action: Action,
    minimiser: AbstractMinimiser,
    members: Members,
    ratio: Float[Array, ""],
    active: Bool[Array, " member"],
    tolerance: Float[Array, ""],
) -> Members:
    """Minimise the action at one R_f/R_m for the active members, from where they are."""
    problem = action.at(ratio)
    # Low on the ladder, damping of at least 1e-3 R_f, and R_f at first, chooses better basins; high on it, damping
    # tied to R_f would freeze the path, so there its unit is tied to R_m (`action.BOUND`).
    floor, ceiling = jnp.where(ratio < 1e3, 1e-3, 1e-9), jnp.clip(1e3 / ratio, 1.0, 1e3)

    def one(member):
        damping = jnp.clip(member.damping, floor, ceiling)
        solution = minimiser.minimise(problem, member.z, tolerance=tolerance, damping=damping, floor=floor)
        return Members(solution.z, solution.damping, solution.cost, solution.steps, solution.status)

    return spread(one, members, active)


def climb(
    action: Action,
    paths: Float[Array, "member time state"],
    parameters: Float[Array, "member parameter"],
    ladder: Ladder,
    *,
    prune: Prune | None = None,
    minimiser: AbstractMinimiser | None = None,
) -> tuple[Members, Float[Array, "rung member"]]:
    """The whole ladder as one pure function: members at its end, and their reduced levels on every rung.

    It may stand inside a user's own `jit`, `vmap` over data sets (`action.observe(values)`) or `grad`: derivatives of
    the paths, parameters and last levels by the data come from the implicit function theorem at the last rung's
    minimum, through its block structure. Levels of members that `prune` drops are NaN from there on.

    `paths` (member, N, D), `parameters` (member, P) as from `initial_paths`. Raises `ValueError` where the ladder ends
    higher than normal equations carry in their dtype, since the derivatives are solved from these whatever `minimiser`
    is.
    """
    usual = DampedNewton()
    ladder.check(paths.dtype, usual)
    ratios = jnp.asarray(ladder.ratios, paths.dtype)
    return _climb(action, paths, parameters, ratios, prune, usual if minimiser is None else minimiser)


@eqx.filter_jit
def _climb(action: Action, paths, parameters, ratios, prune: Prune | None, minimiser: AbstractMinimiser):
    frozen = jax.tree.map(lax.stop_gradient, eqx.filter(action, eqx.is_array))
    held = eqx.combine(frozen, action)
    members = Members.start(held, lax.stop_gradient(paths), lax.stop_gradient(parameters))
    tolerances = jnp.full(ratios.shape, ROUGH, paths.dtype).at[-1].set(finest(paths.dtype))

    def rung(carry, inputs):
        members, active = carry
        ratio, tolerance = inputs
        members = advance(held, minimiser, members, ratio, active, tolerance)
        levels = jnp.where(active, held.level(members.cost), jnp.nan)
        going = active if prune is None else prune.keep(levels, active)
        return (members, going), levels

    start = (members, jnp.ones(paths.shape[0], bool))
    (members, active), levels = lax.scan(rung, start, (ratios, tolerances))
    status = jnp.where(active | jnp.isfinite(levels[-1]), members.status, Status.pruned)
    last = action.at(ratios[-1])
    z = lax.map(lambda z: implicit(last, z), members.z)
    cost = jax.vmap(last.cost)(z)
    levels = levels.at[-1].set(jnp.where(jnp.isfinite(levels[-1]), action.level(cost), jnp.nan))
    return Members(z, members.damping, cost, members.steps, status), levels


def finest(dtype: type | np.dtype) -> float:
    """The finest tolerance that a dtype's rounding leaves."""
    return max(FINE, 10.0 * float(jnp.finfo(dtype).eps))
