"""One rung for all members, which is what gets compiled; and the whole ladder as one traceable function."""

from functools import partial
from itertools import groupby

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
from deepest.transcription import energy

# A rung needs its minimum only well enough to start the next one; the last is worth polishing.
ROUGH, FINE = 1e-4, 1e-12


def suited(action: Action, ratio: float, dtype: type | np.dtype) -> AbstractMinimiser:
    """The minimiser to use where none is given: normal equations as far as the dtype's precision carries them, since
    their steps are the same and cost a tenth, and beyond it the primal–dual form."""
    usual = DampedNewton()
    return usual if ratio <= highest(action, usual, dtype) else DampedNewton(form=PrimalDual())


def highest(action: Action, minimiser: AbstractMinimiser, dtype: type | np.dtype) -> float:
    """The R_f/R_m to which a minimiser carries an action in a dtype: less where some of it weighs more than 1."""
    return minimiser.highest(dtype) / action.heaviest


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


def yielding(
    action: Action, members: Members, ratio: Float[Array, ""], active: Bool[Array, " member"]
) -> Float[Array, " member"]:
    """How far each active member's minimum moves as R_f grows, along the tangent of its branch; 0 for the others.

        dz/d ln R_f = −H⁻¹ g,   g = Jᵀ R_f c,    gᵀ H⁻¹ g · 2/n

    with the Gauss–Newton H at the minimum: where R_f grows e-fold, the level falls by about this on the way from the
    old minimum to the new one.
    """
    problem = action.at(ratio)
    model = lambda z: energy(problem.problem.weight, problem.transcription.residuals(problem.problem, z))

    def one(member):
        z, _ = member
        local, force = problem.quadratic(z, False), jax.grad(model)(z)
        free = jax.tree.map(jnp.ones_like, z) if problem.bounds is None else problem.bounds.inside(z)
        force = jax.tree.map(jnp.multiply, force, free)
        moved = problem.kernel.solve(local.hessian.restrict(free), force)
        products = jax.tree.map(jnp.vdot, force, moved)
        return z, action.level(jax.tree.reduce(jnp.add, products))

    return spread(one, (members.z, jnp.zeros_like(members.cost)), active)[1]


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

    It may stand inside a user's own `jit`, `vmap` over data sets (`action.observe(values)`) or `grad`: the first
    derivatives of the paths, parameters and last levels by the data come from the implicit function theorem at the
    last rung's minimum, through its block structure, at every R_f to about the dtype's precision. Levels of members
    that `prune` drops are NaN from there on.

    `paths` (member, N, D), `parameters` (member, P) as from `initial_paths`; `minimiser` as in `anneal`. Raises
    `ValueError` for a ladder that a given minimiser cannot carry in their dtype.
    """
    dtype = paths.dtype
    ladder.check(dtype, np.inf if minimiser is None else highest(action, minimiser, dtype))
    rule = lambda ratio: suited(action, ratio, dtype) if minimiser is None else minimiser
    parts = [(own, jnp.asarray([*ratios], dtype)) for own, ratios in groupby(ladder.ratios, rule)]
    return _climb(action, paths, parameters, parts, prune)


@eqx.filter_jit
def _climb(action: Action, paths, parameters, parts, prune: Prune | None):
    frozen = jax.tree.map(lax.stop_gradient, eqx.filter(action, eqx.is_array))
    held = eqx.combine(frozen, action)
    members = Members.start(held, lax.stop_gradient(paths), lax.stop_gradient(parameters))
    top = parts[-1][1][-1]

    def rung(minimiser, carry, ratio):
        members, active = carry
        tolerance = jnp.where(ratio == top, finest(paths.dtype), ROUGH).astype(paths.dtype)
        members = advance(held, minimiser, members, ratio, active, tolerance)
        levels = jnp.where(active, held.level(members.cost), jnp.nan)
        going = active if prune is None else prune.keep(levels, active)
        return (members, going), levels

    carry, along = (members, jnp.ones(paths.shape[0], bool)), []
    for minimiser, ratios in parts:
        carry, levels = lax.scan(partial(rung, minimiser), carry, ratios)
        along.append(levels)
    (members, active), levels = carry, jnp.concatenate(along)
    reached = jnp.isfinite(levels[-1])
    status = jnp.where(active | reached, members.status, Status.pruned)
    last = action.at(top)
    z, cost = lax.map(lambda found: implicit(last, *found), (members.z, members.cost))
    levels = levels.at[-1].set(jnp.where(reached, action.level(cost), jnp.nan))
    return Members(z, members.damping, cost, members.steps, status), levels


def finest(dtype: type | np.dtype) -> float:
    """The finest tolerance that a dtype's rounding leaves."""
    return max(FINE, 10.0 * float(jnp.finfo(dtype).eps))
