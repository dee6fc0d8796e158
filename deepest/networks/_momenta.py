"""The momenta of model errors, layer by layer, and the costates that they become."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from deepest.minimise import Joint, Samples, stiffness
from deepest.networks._action import Along, Datum, NetworkAction, NetworkProblem


class Momenta(eqx.Module):
    """Momenta p of M pairs, in units of action over state.

    `runs` holds those of layers of one shape side by side, (M, count, …): of a `ContinuousNetwork` without maps before
    and after it one array (M, N, D). `first` is Df_1(x_0)ᵀ p_1 (M, …), and `demanded` R_i (x_0 − y_0), zero where an
    input is exact: a stationary path has first = demanded where it is not.
    """

    first: Array
    demanded: Array
    runs: tuple[Array, ...]

    @property
    def layers(self) -> list[Array]:
        """p_1 … p_F, (M, …) each; of a `Recurrent` layer p(l, τ), (M, T, N)."""
        return [run[:, k] for run in self.runs for k in range(run.shape[1])]


def momenta(action: NetworkAction, z: Joint, ratio: ArrayLike) -> Momenta:
    """What the action's momenta are at weights and states z of M pairs, for one R_f/R_m, a scalar.

        p_l = R_f r_l (x_l − f_l(x_{l−1})),   and where the network is exact   p_l = −∂Φ/∂e_l

    with e_l an error added to layer l: backpropagation, p_F = −∂Φ/∂x_F and p_l = Df_{l+1}(x_l)ᵀ p_{l+1}, of a forward
    pass from the inputs of z. At a minimum over the states both are the same at every R_f, and
    ∂A/∂W_l = −p_l · ∂f_l/∂W_l. A layer without weights belongs to the one with which the action joins it, and has no
    momentum of its own. They have the layers' shapes, (M, …). Source: [abarbanel2018].
    """
    return _momenta(action.at(ratio), z)


@eqx.filter_jit
def _momenta(problem: NetworkProblem, z: Joint) -> Momenta:
    z = problem.settled(z)
    errors, compliance = Samples(problem).errors(z.weights, z.states), Samples(problem).compliance()
    one = lambda *given: _backward(problem, z.weights, *given)
    first, runs = jax.vmap(one)(z.states, errors, stiffness(compliance, errors), problem.data)
    return Momenta(first, stiffness(compliance, errors).first, runs)


def _backward(problem: NetworkProblem, weights, states: Along, errors: Along, stiff: Along, datum: Datum):
    """Df_1(x_0)ᵀ p_1 and the momenta of one pair, run by run from the last."""
    end = lambda x: problem.end(x.ravel(), datum.target, datum.weight)
    before = [states.first, *(along[-1] for along in states.runs)]
    costate, found = -jax.grad(end)(before[-1]), []
    layers = list(enumerate(eqx.combine(weights, problem.fixed)))
    for k, run in reversed(layers):
        # Where a layer is exact its momentum is no longer told by its error, but by what comes after it.
        _, pull = jax.vjp(lambda e, run=run, x=before[k]: run.states(x, e)[0], errors.runs[k])
        exact = jnp.isinf(problem.precision * run.stiffness)
        p = jnp.where(exact, pull(costate)[0], stiff.runs[k])
        _, back = jax.vjp(lambda x, run=run, along=states.runs[k]: run.errors(x, along), before[k])
        costate = -back(p)[0]
        found.append(p)
    return costate, tuple(reversed(found))
