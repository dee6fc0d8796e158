"""Continuous networks on digits: deepest's roads beside diffrax + optax, learning curves beside plain classifiers, and
where model error might pay.

    python benchmarks/networks.py race | curves | holes | series | physics   [--seeds 5]

race: the same network, trained as diffrax's documentation does it (diffeqsolve with RecursiveCheckpointAdjoint, an
optax optimiser on batches, a jitted step), against `Strong` and `Descent`. Processor and wall time of one run on one
core, compilation apart; learning rates and batch from a small grid, by validation on training pairs.
curves: M = 30 … 1000 pairs; decay, rung and learning rate are chosen on a quarter of the M pairs where M allows it, so
that no choice sees the test pairs.
holes: digits of which pixels are missing: unknown inputs with a prior, beside imputation.
series: a recurrent network that predicts Lorenz63 from noisy measurements, by the weak and by the strong constraint.
physics: a network inside a physical model, one of whose variables is not measured: annealed, and by diffrax + optax.

Every experiment writes `results/networks_NAME.json`; the first two also a picture.
"""

import argparse

import jax
from _curves import curves
from _holes import holes
from _physics import physics
from _race import race
from _series import series

EXPERIMENTS = {"race": race, "curves": curves, "holes": holes, "series": series, "physics": physics}


def main() -> None:
    """One experiment by name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", False)
    EXPERIMENTS[arguments.experiment](arguments.seeds)


if __name__ == "__main__":
    main()
