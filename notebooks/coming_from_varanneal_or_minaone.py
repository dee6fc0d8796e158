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
# # Coming from varanneal or minAone
#
# varanneal (Python 2.7 and ADOL-C) and minAone (C++ made by Python, and IPOPT) minimise the same action as `deepest`,
# along the same ladder. What differs is what they call things, and how they normalise what they print. This notebook
# takes one data set through both: a varanneal script written anew, line by line, and a minAone project that
# `deepest convert` turns into a configuration. Both must end in the same minimum.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import deepest as dp

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The data
#
# Lorenz96 with ten sites, four of them measured at 81 times with an error of 0.4. The forcing, 8.17, is to be found.

# %%
D, DT, FORCING, NOISE, MEASURED = 10, 0.05, 8.17, 0.4, [0, 2, 4, 7]

times = DT * np.arange(81)
start, error = jax.random.split(jax.random.key(4))
truth = dp.models.integrate(
    dp.models.Lorenz96(D, forcing=FORCING), jax.random.normal(start, (D,)), np.concatenate([[-20.0], times])
)[1:]
values = np.asarray(truth[:, jnp.array(MEASURED)] + NOISE * jax.random.normal(error, (81, 4)))

# %% [markdown]
# ## A varanneal script, line by line
#
# | in the old script | here |
# |---|---|
# | `def l96(t, x, k)`, `x` of shape (N, D), all times | `def l96(t, x, args)`, `x` of shape (D,), one time |
# | `np.roll(x, 1, 1)`, along axis 1 | `jnp.roll(x, 1)`, along axis 0 |
# | `(p, stim) = p` | `args["p"]`, and a `Stimulus` called as `args["current"](t)` |
# | `set_model(l96, D)`, `set_data(data, t=times)` | `Action(l96, Observations(times, values, …), …)` |
# | `Lidx` | `components=` |
# | `RM = 1/σ**2` | `noise=σ`, or `precision=` |
# | `P0`, `Pidx`, the last entries of `bounds` | `Unknown(lower, upper)` as the parameter; or a number |
# | the first entries of `bounds` | `bounds=` |
# | `disc="SimpsonHermite"`, `"trapezoid"`, `"euler"` | `HermiteSimpson()`, `Trapezoid()`, `Euler()` |
# | `dt_model = dt_data/2` | `steps=2` |
# | `RF0`, `alpha`, `beta` | `Ladder(start, factor, rungs)`, with R_f/R_m converted as below |
# | `init_to_data=True` | always so |
# | one `X0` a run, one job for each | `members=`, all in one program |
# | `save_paths`, `save_params`, `save_action_errors` | `result.save("run.nc")` |


# %%
def l96(t, x, args):
    return jnp.roll(x, 1) * (jnp.roll(x, -1) - jnp.roll(x, 2)) - x + args["k"]


R_M, R_F0, ALPHA, BETAS = 1 / NOISE**2, 4e-6, 2.0, 34  # as in the old script

observations = dp.Observations(times, values, components=MEASURED, noise=NOISE)
action = dp.Action(l96, observations, dp.HermiteSimpson(), args={"k": dp.Unknown(4.0, 12.0)}, dimension=D)

# %% [markdown]
# ## The axes
#
# With $d$ the misfits at the $N$ times, and $c$ the defects of Simpson's and Hermite's rule, varanneal prints
#
# $$A = \frac{R_m}{L N} \sum d^2 + \frac{R_f}{D (N - 1)} \sum c^2 ,$$
#
# minAone's program $(\sum d^2 + R_f \sum c^2)/N$ (its guide has sums with ½, its code has not), and `deepest` the
# *reduced level* $2A/n$ of $A = \frac12 R_m \sum d^2 + \frac12 R_f \sum c^2$ with $n$ measured values. So $R_f/R_m$ on
# one axis is not that on another. `dp.action.varanneal` and `dp.action.minaone` convert. Here is the same path,
# a random one, valued by all three formulas.

# %%
path, k, ratio = np.random.default_rng(0).normal(0, 4, (81, D)), 7.0, 1e-3

rate = np.roll(path, 1, 1) * (np.roll(path, -1, 1) - np.roll(path, 2, 1)) - path + k
left, middle, right = path[:-1:2], path[1::2], path[2::2]
f_left, f_middle, f_right = rate[:-1:2], rate[1::2], rate[2::2]
simpson = right - left - 2 * DT / 6 * (f_left + 4 * f_middle + f_right)
hermite = middle - 0.5 * (left + right) - 2 * DT / 8 * (f_left - f_right)
misfit, defect = np.sum((path[:, MEASURED] - values) ** 2), np.sum(simpson**2 + hermite**2)

level = action.level(action.at(ratio).cost(action.pack(jnp.asarray(path), jnp.array([k]))))
varanneal, minaone = dp.action.varanneal(action), dp.action.minaone(action)

their_ratio, their_action = varanneal.convert(ratio, level)
written = R_M * misfit / (4 * 81) + their_ratio * R_M * defect / (D * 80)
print(f"deepest   R_f/R_m = {ratio:.6f}, level  = {level:.4f}")
print(f"varanneal R_f/R_m = {their_ratio:.6f}, action = {their_action:.4f}, its formula {written:.4f}")
assert np.isclose(their_action, written, rtol=1e-12)

their_ratio, their_action = minaone.convert(ratio, level)
written = (misfit + their_ratio * defect) / 81
print(f"minAone   R_f     = {their_ratio:.6f}, action = {their_action:.4f}, its formula {written:.4f}")
assert np.isclose(their_action, written, rtol=1e-12)

# %% [markdown]
# ## The old ladder, annealed
#
# `back` takes the script's $R_{f0}/R_m$ to ours. All rungs are those of the script, but for those that would cost one
# step each, which are left out.

# %%
first = float(varanneal.back(R_F0 / R_M, 1.0)[0])
result = dp.anneal(action, dp.Ladder(first, ALPHA, BETAS), members=20, key=jax.random.key(2))
print(result.report)

assert result.report.consistent
assert abs(result.best.parameters["k"] - FORCING) < 0.02 * FORCING

axes = dp.plot.action_levels(result)

# %% [markdown]
# ## What varanneal has saved
#
# `dp.io.read_varanneal` reads its arrays, as far as the run has got, and gives plain arrays. Here they are written as
# varanneal would: paths (rung, time, 1 + D) with the time first, parameters (rung, P), and the five columns of action
# errors, for a run of three rungs that was stopped after two. An old path may be compared with ours, and goes on from
# where it stood: it is a start like any other. On the command line, `deepest convert FOLDER -o NEW` makes tables of
# such arrays, and a `starts.nc` that a configuration can name.

# %%
top = float(result.ratios[-1])
r_f, printed = (float(x) for x in varanneal.convert(top, result.best.level))
share = 0.1 * printed
with tempfile.TemporaryDirectory() as folder:
    files = [Path(folder) / name for name in ("paths.npy", "params.npy", "action_errors.npy")]
    series = np.stack([result.best.path, result.best.path, np.zeros((81, D))])
    np.save(files[0], np.concatenate([np.broadcast_to(times[:, None], (3, 81, 1)), series], axis=2))
    np.save(files[1], np.full((3, 1), result.best.parameters["k"]))
    np.save(files[2], [[b, printed, printed - share, share, share / (r_f * R_M)] for b in range(3)])
    old = dp.io.read_varanneal(*files)

ratios, levels = varanneal.back(old.precision / R_M, old.action)
print(f"{len(old.paths)} rungs, the last at R_f/R_m = {ratios[-1]:.4g} with level {levels[-1]:.4f}")
assert len(old.paths) == 2 and np.isclose(levels[-1], result.best.level, rtol=1e-12)

again = dp.anneal(action, dp.Ladder(float(ratios[-1]), ALPHA, 1), starts=(old.paths[-1:], old.parameters[-1:]))
assert again.report.consistent and np.isclose(again.best.level, result.best.level, rtol=1e-6)

# %% [markdown]
# ## A minAone project
#
# `equations.txt` has the sizes, the equations, the measurement term and the names, and `specs.txt` the length, the
# time step (doubled), the files, bounds with $R_{f0}$, and the ladder. `deepest convert` reads them as minAone does,
# and says what has no counterpart. Equations are read as arithmetic, and text that is anything else is refused.

# %%
sites = [f"x{i}" for i in range(D)]
data = [f"seen{i}" for i in MEASURED]
equations = [
    "ring",
    f"{D},1,0,0,0,4",
    *(f"x{(i - 1) % D}*(x{(i + 1) % D} - x{(i - 2) % D}) - x{i} + force" for i in range(D)),
    " + ".join(f"(seen{i} - x{i})*(seen{i} - x{i})" for i in MEASURED),
    *sites,
    "force",
    *data,
]
specs = ["40", "0", "0.1", "0", *(f"{name}.txt" for name in data), *[f"-20, 20, {first:.17g}"] * D, "4, 12", "2, 1, 34"]

folder = tempfile.TemporaryDirectory()
old, new = Path(folder.name) / "old", Path(folder.name) / "new"
old.mkdir()
(old / "equations.txt").write_text("\n".join(equations), encoding="utf-8")
(old / "specs.txt").write_text("\n".join(specs), encoding="utf-8")
for name, column in zip(data, values.T, strict=True):
    np.savetxt(old / f"{name}.txt", column, fmt="%.17g")


def deepest(*arguments):
    command = [sys.executable, "-m", "deepest.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout.replace(folder.name, "…"), done.stderr, sep="\n")


deepest("convert", old, "-o", new, "--noise", NOISE)
print((new / "ring_model.py").read_text("utf-8"))
print((new / "config.toml").read_text("utf-8"))

# %% [markdown]
# The configuration is as good as one written by hand. It runs on the command line, and `dp.load` takes the run up.

# %%
deepest("anneal", new / "config.toml", "--no-plots", "--no-cache")
sys.path.insert(0, str(new))  # where its model is
run = dp.load(new / "run.nc", trust=True)
folder.cleanup()

found, before = run.best.parameters["force"], result.best.parameters["k"]
print(f"forcing {found:.5f} from minAone's project, {before:.5f} from varanneal's script")
assert run.report.consistent and abs(found - before) < 1e-3 * FORCING

ratios, levels = dp.action.minaone(run.action).convert(run.ratios[-1], run.best.level)
print(
    f"On minAone's axes: R_f = {ratios:.4g}, action {levels:.4f}; L σ² = {4 * NOISE**2:.2f} is expected at the truth."
)

axes = dp.plot.path(run, components=[0, 1], truth=truth)

# %% [markdown]
# ## What has no counterpart
#
# - **Control variables** of minAone, which couple the model to the data, and data in an equation: refused. A small
#   $R_f$ at the foot of the ladder does what the coupling did.
# - **External functions** in C++: write them once more with `jax.numpy` into `myfunctions.py` beside `equations.txt`;
#   their derivatives, which minAone needed too, are not needed.
# - **The measurement error**, of which minAone does not know: say it with `--noise`, or write it into `config.toml`.
# - **varanneal's model** is Python already, and stays the user's to change: two axes, as above.
