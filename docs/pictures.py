"""Make the picture of the README: every member of a Lorenz96 twin taken all the way, none pruned.

python docs/pictures.py
"""

from pathlib import Path

import jax

import deepest as dp

jax.config.update("jax_enable_x64", True)
twin = dp.twin.lorenz96().simulate(jax.random.key(2))
result = dp.anneal(twin.action, members=24, key=jax.random.key(0), prune=None, stop=False)
axes = dp.plot.action_levels(result)
axes.figure.set_size_inches(8.0, 4.5)
dp.plot.save(axes, Path(__file__).parent / "action_levels.png", force=True)
