"""How the implicit methods solve for what they do not know: to rounding, wherever that lies."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optimistix as optx
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

# Steps that no longer shrink are rounding if they are below so many tolerances, and failure above.
_SMALL = 1e4


class SettledChord(optx.AbstractRootFinder):
    """optimistix's `Chord` method, which ends also where its steps are small and no longer shrink.

    There the function's own rounding is reached, which no tolerance set beforehand knows: a momentum that is the
    difference of larger numbers is known to their rounding, and need not be to its own where a motion turns around.
    """

    rtol: float
    atol: float
    norm: Callable[[PyTree], Array] = optx.max_norm

    @property
    def chord(self) -> optx.Chord:
        """The method itself."""
        return optx.Chord(self.rtol, self.atol, self.norm)

    def init(self, fn, y, args, options, f_struct, aux_struct, tags) -> PyTree:
        none = jnp.full((), jnp.inf, jnp.result_type(*jax.tree.leaves(y)))
        return self.chord.init(fn, y, args, options, f_struct, aux_struct, tags), none, none

    def step(self, fn, y, args, options: dict[str, Any], state, tags) -> tuple[PyTree, PyTree, PyTree]:
        inner, latest, _ = state
        new, inner, aux = self.chord.step(fn, y, args, options, inner, tags)
        change = self.norm(jax.tree.map(lambda a, b: (a - b) / (self.atol + self.rtol * jnp.abs(a)), new, y))
        return new, (inner, change, latest), aux

    def terminate(self, fn, y, args, options, state, tags) -> tuple[Bool[Array, ""], optx.RESULTS]:
        inner, latest, before = state
        done, result = self.chord.terminate(fn, y, args, options, inner, tags)
        return done | ((latest < _SMALL) & (latest >= before)), result

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return self.chord.postprocess(fn, y, aux, args, options, state[0], tags, result)


def finder(given: optx.AbstractRootFinder | None, dtype) -> optx.AbstractRootFinder:
    """The root finder that was given, or `SettledChord` to 50 times the rounding of the dtype."""
    tolerance = 50.0 * float(jnp.finfo(dtype).eps)
    return SettledChord(tolerance, tolerance) if given is None else given


def size(*arrays: Float[Array, "..."]) -> Float[Array, ""]:
    """The largest magnitude in the arrays, a positive scalar that carries no derivative."""
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(a)) for a in arrays]))
    return lax.stop_gradient(jnp.where(largest > 0, largest, 1.0))
