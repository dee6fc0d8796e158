"""Networks of continuous depth."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from deepest.costate import explicit_step
from deepest.networks._depth import AbstractDepthField
from deepest.networks._network import AbstractNetwork, Chain, parts, through
from deepest.networks._run import Run


class ContinuousNetwork(AbstractNetwork):
    """dx/dt = field(t, x, args) through a depth T, between an input map and an output map.

    - `field`: an Equinox module `(t, x, args)`, the vector field of all layers; its weights may depend on t, as in
      `Piecewise`, `Elements` and `Generated`. `args` is None.
    - `depth`: T; `layers`: the number N of equal steps in which it is transcribed, each of which may err.
    - `entry`, `readout`: modules of one array before and after, each a layer as well; None leaves them out.
    - `augment`: so many zeros are appended to the state x (D,) before the field, which then moves in D + augment
      dimensions. Source: [dupont2019].
    - `solver`: the explicit Runge–Kutta method of a step, as diffrax has them; a forward pass converges at its order.

    A defect of a step is about T/N times the mismatch of dx/dt, so that its precision is R_f N/T: `R_f` keeps its
    meaning when the layers are refined, and ½ ∫ R_f |dx/dt − F|² dt is what the action approaches: at the first order,
    whatever the solver, where there is a mismatch, for an error stands at the end of its step.
    Raises `ValueError` for a depth or a number of layers that is not positive, and for a field whose pieces do not fit
    both.
    """

    field: Callable
    depth: float = eqx.field(static=True)
    layers: int = eqx.field(static=True)
    entry: Callable | None
    readout: Callable | None
    augment: int = eqx.field(static=True)
    solver: diffrax.AbstractSolver = eqx.field(static=True)

    def __init__(
        self,
        field: Callable,
        depth: float,
        layers: int,
        *,
        entry: Callable | None = None,
        readout: Callable | None = None,
        augment: int = 0,
        solver: diffrax.AbstractSolver | None = None,
    ):
        if not depth > 0:
            raise ValueError(f"A continuous network has a positive depth; received depth={depth}.")
        if layers < 1:
            raise ValueError(f"A continuous network is transcribed in at least one layer; received layers={layers}.")
        if augment < 0:
            raise ValueError(f"A state is augmented by zero or more dimensions; received augment={augment}.")
        if isinstance(field, AbstractDepthField) and (field.depth != depth or layers % field.pieces):
            raise ValueError(
                f"A field of {field.pieces} pieces along the depth {field.depth:g} needs a network of that depth with "
                f"a multiple of {field.pieces} layers; received depth={depth:g} and layers={layers}."
            )
        self.field, self.depth, self.layers = field, float(depth), layers
        self.entry, self.readout, self.augment = entry, readout, augment
        self.solver = diffrax.Heun() if solver is None else solver

    def runs(self, shape, dtype):
        place, runs = jax.ShapeDtypeStruct(shape, dtype), []
        for layer, error in self._outside():
            place = through(len(runs) + 1, layer, place)
            runs.append(Run.of([layer], place.shape, error))
        index = jnp.arange(self.layers)
        step = Step(self.field, index[0], self.depth / self.layers, self.solver)
        after = through(len(runs) + 1, step, place)
        if after.shape != place.shape:
            raise ValueError(
                f"A vector field keeps the shape of its state; received {place.shape} and made {after.shape} of it."
            )
        stacked, shared = jax.tree.map(lambda _: None, step), step
        where = lambda step: step.index
        stacked = eqx.tree_at(where, stacked, index, is_leaf=lambda leaf: leaf is None)
        shared = eqx.tree_at(where, shared, None)
        runs.append(Run(stacked, shared, self.layers, place.shape, self.layers / self.depth))
        if self.readout is not None:
            place = through(len(runs) + 1, self.readout, place)
            runs.append(Run.of([self.readout], place.shape))
        return tuple(runs)

    def trained(self, runs):
        rest = list(runs)
        before = [rest.pop(0).layers[0] for _ in self._outside()]
        entry = None if self.entry is None else parts(before[0])[0]
        field = rest.pop(0).shared.field
        readout = rest.pop(0).layers[0] if rest else None
        where = lambda network: (network.field, network.entry, network.readout)
        return eqx.tree_at(where, self, (field, entry, readout), is_leaf=lambda leaf: leaf is None)

    def __call__(self, x):
        for run in self.runs(x.shape, x.dtype):
            x = run(x)
        return x

    def _outside(self) -> list[tuple[Callable, float]]:
        """Layers before the flow, and their stiffness. What only appends zeros makes no error."""
        if self.entry is not None:
            return [(Chain([self.entry, Augment(self.augment)]) if self.augment else self.entry, 1.0)]
        return [(Augment(self.augment), float("inf"))] if self.augment else []


class Augment(eqx.Module):
    """x (D,) with zeros appended."""

    count: int = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        return jnp.pad(x, (0, self.count))


class Step(eqx.Module):
    """One layer of a flow: from t = index · h to the next."""

    field: Callable
    index: Int[Array, ""]
    width: float = eqx.field(static=True)
    solver: diffrax.AbstractSolver = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        start, end = (self.width * (self.index + k).astype(x.dtype) for k in (0, 1))
        field = self.field.between(start, end) if isinstance(self.field, AbstractDepthField) else self.field
        return explicit_step(self.solver, field, start, end, x)
