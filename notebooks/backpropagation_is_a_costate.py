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
# # Backpropagation is a costate
#
# Take the layer number $l$ of a network as time. Give every layer a model error, weigh it by a precision $R_f$, and
# measure the first and the last layer: that is data assimilation, with the action
#
# $$A = \sum_\text{pairs} \Big[\tfrac12 R_m |x_F - y|^2 + \tfrac12 R_i |x_0 - y_0|^2
#   + \tfrac12 R_f \sum_l |x_l - f_l(x_{l-1})|^2\Big] + \tfrac12 \mu |W|^2 .$$
#
# Its momenta are $p_l = R_f\,(x_l - f_l(x_{l-1}))$, and where the action is least
#
# $$p_l = Df_l(x_l)^\top p_{l+1}, \qquad p_F = -R_m (x_F - y), \qquad Df_0(x_0)^\top p_1 = R_i (x_0 - y_0) .$$
#
# The first two of these are backpropagation. The third is not part of it.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from deepest import costate, networks
from deepest.minimise import DampedNewton, Representers
from deepest.networks import NetworkAction, Pairs

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Layer by layer
#
# `costate.sweep` goes forward through any modules and hands back what it finds on the way back: a costate for every
# layer, $p_l = -\partial C/\partial x_l$, and $\partial C/\partial W_l = -p_{l+1} \cdot \partial f_l/\partial W_l$.

# %%
keys = jax.random.split(jax.random.key(0), 3)
convolution = eqx.nn.Conv2d(1, 2, 3, key=keys[0])
layers = [convolution, jnp.tanh, jnp.ravel, networks.Dense(8, 4, key=keys[1]), networks.Dense(4, 2, None, key=keys[2])]
image = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4)))


def cost(output):
    return 0.5 * jnp.sum((output - jnp.array([1.0, -1.0])) ** 2)


def rest(x, layers):
    for layer in layers:
        x = layer(x)
    return cost(x)


@eqx.filter_jit
def both(layers, x):
    found = costate.sweep(layers, x, cost)
    by_states = [jax.grad(rest)(x, layers[number:]) for number, x in enumerate(found.states)]
    return found, by_states, eqx.filter_grad(lambda layers: rest(x, layers))(layers)


found, by_states, by_weights = both(layers, image)
for number, (x, p, gradient) in enumerate(zip(found.states, found.costates, by_states, strict=True)):
    difference = float(jnp.max(jnp.abs(p + gradient)) / jnp.max(jnp.abs(gradient)))
    print(f"x_{number}: shape {x.shape!s:10} |p| = {float(jnp.linalg.norm(p)):.4f}, against jax.grad {difference:.0e}")
    assert difference < 1e-12

pairs_of_leaves = zip(jax.tree.leaves(found.gradients), jax.tree.leaves(by_weights), strict=True)
assert all(jnp.allclose(one, other, rtol=1e-12, atol=1e-15) for one, other in pairs_of_leaves)

# %% [markdown]
# ## What all layers agree on
#
# A small change $\delta x_0$ of the input runs forward, $\delta x_{l+1} = Df_l\,\delta x_l$; the costate runs backward.
# Their product is the same at every layer, whatever the widths: the change of the cost, known from the first layer on.
# Hamiltonian mechanics calls it the symplectic product, and that it is kept is why gradients come out exact.

# %%
change, products = jnp.asarray(np.random.default_rng(1).normal(size=image.shape)), []
for layer, x, p in zip([*layers, lambda x: x], found.states, found.costates, strict=True):
    products.append(float(jnp.vdot(p, change)))
    _, change = jax.jvp(layer, (x,), (change,))
print("p · δx:", ", ".join(f"{product:.12f}" for product in products))
assert np.ptp(products) < 1e-13

# %% [markdown]
# ## Pairs with noise on both sides
#
# A network of three residual layers, and 200 pairs from another one like it. Inputs were measured with noise too.

# %%
NOISE = 0.1


def network(gain, key):
    return networks.perceptron([2, 2, 2, 2], residual=0.7, gain=gain, key=key)


@eqx.filter_jit
def forward(network, inputs):
    return jax.vmap(network)(inputs)


def twin(seed, input_noise, count=200):
    """The true network, clean inputs, measured inputs and outputs, and a network to begin with."""
    draw, (one, other) = np.random.default_rng(seed), jax.random.split(jax.random.key(seed))
    true, clean = network(1.5, one), draw.normal(size=(count, 2))
    measured = clean + input_noise * draw.normal(size=clean.shape)
    outputs = np.asarray(forward(true, jnp.asarray(clean)))
    return true, clean, measured, outputs + NOISE * draw.normal(size=clean.shape), network(0.5, other)


@eqx.filter_jit
def minimise(problem, z, tolerance):
    search = DampedNewton(300, Representers(iterations=60, tolerance=1e-4))
    return search.minimise(problem, problem.settled(z), tolerance=tolerance, damping=1e-2, floor=1e-9).z


true, clean, inputs, outputs, begun = twin(0, 0.2)
action = NetworkAction(begun, Pairs(inputs, outputs, noise=NOISE, input_noise=0.2), decay=1.0)
strong = minimise(action.at(np.inf), action.start(), jnp.asarray(1e-14))
limit = networks.momenta(action, strong, np.inf)
print("layers:", [p.shape for p in limit.layers])

# %% [markdown]
# `networks.momenta` gives the momenta of all pairs at any $R_f$. At $R_f = \infty$, where errors vanish and momenta do
# not, they are the costates of a forward pass.

# %%
trained = action.trained(strong.weights)
swept = costate.sweep(
    trained.layers, strong.states.first[7], lambda x: action.cost(x, action.data.target[7], action.data.weight[7])
)
assert all(jnp.allclose(p[7], q, rtol=1e-10) for p, q in zip(limit.layers, swept.costates[1:], strict=True))

# %% [markdown]
# ## The annealed momenta approach it
#
# Down the ladder from there: minimise the action over all states and weights at each $R_f$. The momenta of its minimum
# differ from the costates of the strong constraint by a distance that falls as $1/R_f$.

# %%
ratios, distances, z = 10.0 ** np.arange(5, -3, -1), [], strong
for ratio in ratios:
    z = minimise(action.at(ratio), z, jnp.asarray(1e-14))
    here = networks.momenta(action, z, ratio)
    gaps = [jnp.linalg.norm(p - q) / jnp.linalg.norm(q) for p, q in zip(here.layers, limit.layers, strict=True)]
    distances.append([float(gap) for gap in gaps])
distances = np.array(distances)
slopes = np.diff(np.log(distances[:4]), axis=0) / np.diff(np.log(ratios[:4]))[:, None]
print("slopes, R_f/R_m from 1e2 to 1e5:", np.round(slopes.ravel(), 3))

figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for layer, column in enumerate(distances.T, 1):
    axes.loglog(ratios, column, "o-", label=f"layer {layer}")
axes.loglog(ratios[:6], 2.0 * distances[0].max() * ratios[0] / ratios[:6], "k:", label=r"slope $-1$")
axes.set(xlabel=r"$R_f/R_m$", ylabel="|p − costate| / |costate|", title="Annealed momenta become backpropagation")
axes.legend()

assert np.all(np.abs(slopes + 1.0) < 0.1)
assert np.all(distances[-1] > 0.5)  # at small R_f they are something else

# %% [markdown]
# ## Two ends, two conditions
#
# Training with the inputs taken as exact puts $x_0 = y_0$ and never asks what $Df_0(x_0)^\top p_1$ is. If inputs have
# noise, that is a force which pulls on them, and nothing holds against it. Free inputs move until the measurement
# does: $Df_0(x_0)^\top p_1 = R_i(x_0 - y_0)$. Then both ends' conditions hold, and inputs are estimated with all else.
#
# Eight data sets for each size of the input noise, the network exact ($R_f = \infty$) in all of them. Both searches
# minimise over the weights; the second goes on from the first with the inputs free.


# %%
def compare(seed, input_noise):
    true, clean, inputs, outputs, begun = twin(seed, input_noise)
    fresh = jnp.asarray(np.random.default_rng(seed + 100).normal(size=(1000, 2)))
    exact, row = forward(true, fresh), {}
    for name, noise in (("clamped", None), ("free", input_noise)):
        action = NetworkAction(begun, Pairs(inputs, outputs, noise=NOISE, input_noise=noise), decay=1.0)
        z = minimise(action.at(np.inf), action.start(), jnp.asarray(1e-7))
        begun, p = action.trained(z.weights), networks.momenta(action, z, np.inf)
        row[name] = float(jnp.mean((forward(begun, fresh) - exact) ** 2) / jnp.var(exact, axis=0).mean())
        row[name + " ends"] = np.ravel(p.first), np.ravel(p.demanded)
    row["before"], row["after"] = (float(np.sqrt(np.mean((x - clean) ** 2))) for x in (inputs, z.states.first))
    return row


results = {noise: [compare(seed, noise) for seed in range(8)] for noise in (0.2, 0.4)}
column = lambda noise, name: np.array([row[name] for row in results[noise]])
print("input noise   data set   held-out error, inputs clamped / free   inputs' error, measured / estimated")
for noise, rows in results.items():
    for seed, row in enumerate(rows):
        numbers = f"{row['clamped']:18.4f} / {row['free']:.4f} {row['before']:27.3f} / {row['after']:.3f}"
        print(f"{noise:11} {seed:10} {numbers}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.0, 3.6), layout="constrained")
for name, colour in (("clamped ends", "C1"), ("free ends", "C0")):
    force, held = results[0.2][0][name]
    axes[0].plot(force, held, ".", color=colour, label=name.removesuffix(" ends"))
reach = np.max(np.abs(results[0.2][0]["free ends"][0]))
axes[0].plot([-reach, reach], [-reach, reach], "k:", linewidth=1)
axes[0].set(xlabel=r"$Df_0(x_0)^\top p_1$", ylabel=r"$R_i\,(x_0 - y_0)$", title="The first layer's condition")
axes[0].set(xlim=(-1.5 * reach, 1.5 * reach))
for axis, one, other, title in (
    (axes[1], "clamped", "free", "Held-out error"),
    (axes[2], "before", "after", "Error of the inputs"),
):
    for noise, mark in ((0.2, "C2o"), (0.4, "C3s")):
        axis.loglog(column(noise, one), column(noise, other), mark, label=f"input noise {noise}")
    low, high = axis.get_xlim()
    axis.plot([low, high], [low, high], "k:", linewidth=1)
    axis.set(title=title)
axes[1].set(xlabel="inputs clamped", ylabel="inputs free")
axes[2].set(xlabel="as measured", ylabel="as estimated")
for axis in axes:
    axis.legend(fontsize="small")

# %% [markdown]
# Below the dotted line the free inputs did better: the estimates are nearer to the truth than the measurements in
# every data set, and the network is nearer to the true one in most of them, the more so the larger the noise. Not in
# all: the search is local, and free inputs give it more room to end badly.

# %%
for noise in results:
    force, held = results[noise][0]["free ends"]
    assert np.max(np.abs(force - held)) < 1e-2 * np.max(np.abs(force))
    ratio = column(noise, "free") / column(noise, "clamped")
    gained = column(noise, "after") / column(noise, "before")
    print(f"input noise {noise}: held-out error times {np.exp(np.mean(np.log(ratio))):.2f} (geometric mean), lower in")
    print(f"    {np.sum(ratio < 1)} of {ratio.size} data sets; error of inputs times {np.mean(gained):.2f}")
    assert np.all(gained < 1.0)
    assert np.exp(np.mean(np.log(ratio))) < 1.0
    assert np.sum(ratio < 1) >= 5
