"""The template of `deepest anneal --example`, which is also where the format is explained."""

EXAMPLE = """\
# What deepest anneal is to do: deepest anneal config.toml
# File names are relative to this file. Times and values are in whatever units your model uses.

[model]
name = "Lorenz96"               # Lorenz63, nakl, LotkaVolterra, …, or "module:attribute" of your own (see below)
dimension = 20                  # every other key is an argument of the model:
forcing = { unknown = [6, 10] } # a number, or a range in which to find it

# Your own model: name = "mymodel:field", where mymodel.py lies beside this file and holds a function
#     def field(t, x, args):  return dx/dt, with jax.numpy
# or an Equinox module with that signature as its __call__. A function needs dimension = …, the size of x; the other
# keys are the entries of args. An unknown may have a Gaussian prior, or a path of its own:
#     gain = { unknown = [0, 5], prior = { mean = 1, deviation = 0.5 } }
#     drive = { unknown = [-1, 1], varies = true }
# A known function of time is read from a file, and is called as args["current"](t),
# which is a number for one column and a vector for several:
#     current = { stimulus = "current.csv", columns = ["I"], continuity = "linear" }      # or "steps", or "cubic"

[data]
file = "data.csv"               # CSV, varanneal's .npy, or NetCDF; blank or NaN is missing
time = "time"                   # its time column; left out: the one called time or t, or the first
columns = ["x0", "x2", "x4", "x6", "x8", "x10", "x14", "x16"] # left out: all others
components = [0, 2, 4, 6, 8, 10, 14, 16] # which component of the state each column is, counted from 0
noise = 0.5                     # standard deviation of the measurement error, one number or one a column
# breaks = [10.0, 20.0]         # times at which the path begins anew: the first of each further experiment

[state]                         # may be left out
spread = [-10, 10]              # range in which unmeasured components start; each one number or one a component
# bounds = [-50, 50]            # limits that the state keeps
# precision = "range"           # R_f of every component by its bounds' width; or one number a component

[transcription]                 # may be left out
name = "HermiteSimpson"         # or Euler, Trapezoid, ImplicitMidpoint, RungeKutta4
steps = 2                       # grid steps between two times of the data; or
# step = 0.01                   # the longest that a grid step may be, which fills gaps
convention = "interval"         # or "continuum": R_f does not change its meaning when the grid is refined

[ladder]                        # may be left out: R_f/R_m = start · factor^rung
start = 1e-6
factor = 5.0
rungs = 18
# largest = 100                 # by how much R_f may grow at once where nothing changes, with a factor such as 1.5

[ensemble]                      # may be left out
members = 64                    # random starting paths
seed = 0
# starts = "starts.nc"          # or paths and parameters to start from, such as deepest convert writes
# draws = 4000                  # of so many random parameters begin with those whose path follows the data best

[output]                        # may be left out
file = "run.nc"
plots = true                    # run_levels.png, run_path.png and run_parameters.png beside it
"""
