# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Deepest learning on digits
#
# A network of continuous depth, $dx/dt = \tanh(W x + b)$ between a linear map of 64 pixels to 32 neurons and one to ten
# logits, is a dynamical system: its time is depth, and what is measured are its first and its last layer, many times
# over. Its action is that of data assimilation,
#
# $$A = \sum_k \Big[\Phi(x_F; y) + \tfrac12 R_f \sum_l r_l\, |x_l - f_l(x_{l-1})|^2\Big]_k + \tfrac12 \mu\, |W|^2 ,$$
#
# with the cross-entropy $\Phi$ of the label $y$. This notebook trains it on 200 of scikit-learn's 1797 images in two
# ways, and puts plain classifiers beside both. `deepest train digits` does it with all of them.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import deepest as dp
from deepest import networks

jax.config.update("jax_enable_x64", True)

example = networks.digits(pairs=200, layers=4)
images, labels = example.action.pairs.inputs, example.action.pairs.targets
print(example.about)
print(f"{example.action.pairs.count} training pairs, {example.held_out.count} held out")

assert images.shape == (200, 64)

# %% [markdown]
# ## The strong constraint
#
# At $R_f = \infty$ the layers are exact. `Strong` takes Gauss–Newton steps in the weights, each at the price of a few
# passes of costates $p_l = -\partial \Phi/\partial x_l$ through the layers.

# %%
strong = networks.fit(example.action, networks.Strong(stages=3, steps=8), held_out=example.held_out)
print(strong.report)

assert strong.ending is networks.Ending.finished
assert strong.history.error[-1] == 0.0

# %% [markdown]
# ## The weak constraint, annealed
#
# At a small $R_f$ the layers may err: the action is small at once, because the errors carry what the weights do not
# know yet, and the forward pass, which has no errors, need not fit. As $R_f$ grows the errors are squeezed out. The
# ladder starts at a forward pass of the same weights, and takes at most eight steps a rung.

# %%
road = networks.Annealed(dp.Ladder(0.01, 10.0, 6), steps=8)
annealed = networks.fit(example.action, road, held_out=example.held_out)
print(annealed.report)

h = annealed.history
assert h.action[1] < 1.5 * h.action[-1] and h.error[1] > h.error[-1]
assert h.held_out_loss[1:3].min() < strong.history.held_out_loss[-1]
assert np.isinf(h.ratio[-1]) and not annealed.collapsed

# %% [markdown]
# A small action is no evidence that the map is learned: on the second rung it is about what it is at $R_f = \infty$,
# and yet some of the *training* images are called by a wrong name. In return the forward pass is less sure of itself
# there, and its log-loss on held-out images is lower than that of the strong constraint.
#
# ## Beside plain classifiers

# %%
scores = networks.plain_classifiers(example.action.pairs, example.held_out)
rows = [(score.name, score.error, score.loss) for score in scores]
for name, trained in (("strong constraint", strong), ("annealed to ∞", annealed)):
    rows.append((name, trained.history.held_out_error[-1], trained.history.held_out_loss[-1]))
for name, error, loss in rows:
    print(f"{name:22s} error {error:6.1%}   log-loss {loss:.3f}")

found = {name: error for name, error, _ in rows}
assert found["strong constraint"] < 0.2 and found["most frequent label"] > 0.85

# %% [markdown]
# With so few pairs a network is not better than softmax regression, whichever way it was trained; what layers gain
# with many more, and that annealing is not a better trainer, is measured in `benchmarks/networks.py`, over several
# seeds.

# %%
assert found["softmax regression"] < min(found["strong constraint"], found["annealed to ∞"]) + 0.02

dp.plot.training(annealed, scores)

# %% [markdown]
# ## What it gets wrong
#
# The images of which the network is most certain and wrong.

# %%
outputs = np.asarray(jax.vmap(strong.network)(np.asarray(example.held_out.inputs)))
chance = np.exp(outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True))
guessed, true = outputs.argmax(axis=1), example.held_out.targets
wrong = np.flatnonzero(guessed != true)
worst = wrong[np.argsort(-chance[wrong].max(axis=1))][:6]

assert len(wrong) == round(found["strong constraint"] * len(true))

figure, axes = plt.subplots(1, len(worst), figsize=(1.3 * len(worst), 1.8), layout="constrained")
for one, k in zip(axes, worst, strict=True):
    one.imshow(example.held_out.inputs[k].reshape(example.pictures), cmap="gray_r")
    one.set(xticks=[], yticks=[])
    one.set_title(f"{true[k]} called {guessed[k]}\n{chance[k].max():.0%}", fontsize=8)
