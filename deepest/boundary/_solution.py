"""Where a search begins, and what it found."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from deepest.boundary._method import AbstractMethod, Rates
from deepest.boundary._problem import AbstractProblem, Variational
from deepest.boundary._status import Status
from deepest.linalg import BlockVector


class Guess(eqx.Module):
    """A path to begin at: times (N,), `path` (N, D) and, if known, `momenta` (N, D) and unknown `parameters` (P,).

    For a `System` the path holds all of y. The times are the nodes of the mesh. Without momenta they are those of the
    path's own velocity; where the path is noisy data, zeros are often nearer. Raises `ValueError` where times do not
    increase or shapes do not fit.
    """

    times: Float[np.ndarray, " node"]
    path: Float[Array, "node state"]
    momenta: Float[Array, "node state"] | None
    parameters: Float[Array, " parameter"]

    def __init__(
        self,
        times: ArrayLike | Sequence,
        path: ArrayLike | Sequence,
        momenta: ArrayLike | Sequence | None = None,
        *,
        parameters: ArrayLike | Sequence = (),
    ):
        dtype = jnp.result_type(float)
        self.times = np.asarray(times, float)
        if self.times.ndim != 1 or self.times.size < 2 or not np.all(np.diff(self.times.astype(dtype)) > 0):
            raise ValueError(f"The guess needs at least two times, and they must increase, also in {dtype}.")
        self.path, self.parameters = jnp.asarray(path, dtype), jnp.asarray(parameters, dtype)
        self.momenta = None if momenta is None else jnp.asarray(momenta, dtype)
        if self.path.ndim != 2 or self.path.shape[0] != self.times.size or self.path.shape[1] < 1:
            raise ValueError(f"The guessed path must have shape ({self.times.size}, D); received {self.path.shape}.")
        if self.parameters.ndim != 1:
            raise ValueError(f"Unknown parameters have shape (P,); received {self.parameters.shape}.")


class Solution(eqx.Module):
    """What `solve` found: `times` (K + 1,) and y at them, (K + 1, M), with the unknown `parameters` (P,).

    `solution(t)` is y between the nodes. `status` is a `Status`; `steps` counts Newton's over all rungs, refused ones
    among them; `correction` is the size of the one that is left; `growth` the most that an interval magnifies what it
    starts from, for shooting; `defects` (K,) how far y between the nodes is from dy/dt = f, relative, for collocation.
    `rates` are the problem's, with all they close over.
    """

    problem: AbstractProblem
    rates: Rates
    method: AbstractMethod
    times: Float[Array, " node"]
    z: BlockVector
    status: Array
    steps: Array
    correction: Float[Array, ""]
    growth: Float[Array, ""]
    defects: Float[Array, " interval"]

    @property
    def y(self) -> Float[Array, "*batch node unknown"]:
        """All unknowns at the nodes: x and p of a `Variational` problem, and what its parameters add."""
        return self.z.nodes

    @property
    def path(self) -> Float[Array, "*batch node state"]:
        """x (K + 1, D) at the nodes; y of a `System`."""
        return self.problem.split(self.y)[0] if isinstance(self.problem, Variational) else self.y

    @property
    def momenta(self) -> Float[Array, "*batch node state"]:
        """p (K + 1, D) at the nodes. Raises `ValueError` for a `System`."""
        if not isinstance(self.problem, Variational):
            raise ValueError("A System has no momenta.")
        return self.problem.split(self.y)[1]

    @property
    def parameters(self) -> Float[Array, "*batch parameter"]:
        """The unknown parameters."""
        return self.z.shared

    @property
    def sentence(self) -> str:
        """How it ended, in words."""
        self._alone()
        status = Status(int(self.status))
        seen = f" Growth seen: {float(self.growth):.1e}." if status == Status.growth else ""
        return status.sentence + seen

    def __call__(self, t: Float[ArrayLike, "*time"] | Sequence) -> Float[Array, "*time unknown"]:
        """y (…, M) at any times in the window."""
        self._alone()
        at = jnp.asarray(t, self.times.dtype)
        return _evaluate(self, at.ravel()).reshape(*at.shape, self.z.nodes.shape[1])

    def _alone(self) -> None:
        if self.status.ndim > 0:
            raise ValueError("This is a batch of solutions: look at each by eqx.filter_vmap(lambda s: …)(solutions).")

    @property
    def guess(self) -> Guess:
        """The same, to begin another search at."""
        variational = isinstance(self.problem, Variational)
        momenta = self.momenta if variational else None
        return Guess(np.asarray(self.times), self.path, momenta, parameters=self.parameters)


@eqx.filter_jit
def _evaluate(solution: Solution, times):
    return jax.vmap(lambda t: solution.method.evaluate(solution.rates, solution.times, solution.z, t))(times)
