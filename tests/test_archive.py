"""What is saved comes back to the bit, and what a file cannot hold is asked for in one sentence."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import deepest as dp
from deepest.anneal._specification import UnwritableError, describe, restore
from deepest.io import read_tree, write_tree
from deepest.minimise import Status

TIMES = np.linspace(0.0, 0.8, 41)
LADDER = dp.Ladder(1e-2, 30.0, 4)


def pendulum(t, x, args):
    """dx/dt of a damped pendulum; its damping stands in args."""
    return jnp.stack([x[1], -args["stiffness"] * jnp.sin(x[0]) - args["damping"] * x[1]])


def squared(x):
    """An operator h of shape (2,)."""
    return x[:2] ** 2


class Spiral(eqx.Module):
    """A model of this file's own, with things inside things."""

    rates: dict
    shape: tuple
    dimension: int = eqx.field(static=True, default=2)

    def __call__(self, t, x, args):
        return jnp.stack([-self.rates["decay"] * x[0] - x[1], x[0] + self.shape[0] * self.shape[1][0]])


def data(width=1, missing=True):
    values = np.random.default_rng(0).normal(-8.0, 1.0, (TIMES.size, width))
    if missing:
        values[10:14, 0] = np.nan
    return values


def made(model, observations, *, transcription=None, **options):
    """A result with numbers that nobody computed: what is saved does not depend on how it was found."""
    action = dp.Action(model, observations, transcription or dp.HermiteSimpson(), **options)
    rng, rungs, members = np.random.default_rng(1), 3, 4
    levels = np.cumsum(rng.random((rungs, members)), axis=0)
    levels[2, 1:3] = np.nan
    count = len(action.estimable.names)
    return dp.Result(
        action=action,
        ladder=LADDER,
        levels=levels,
        steps=rng.integers(0, 9, (rungs, members)),
        estimates=rng.normal(size=(rungs, members, count)),
        status=np.array([Status.converged, Status.pruned, Status.not_finite, Status.stalled]),
        paths=rng.normal(size=(members, action.grid.size, action.estimable.size)),
        parameters=rng.normal(size=(members, count)),
    )


def observed(**options):
    return dp.Observations(TIMES, data(), noise=1.0, **options)


@pytest.fixture(scope="module")
def lorenz():
    model = dp.models.Lorenz63(10.0, dp.Unknown(20.0, 40.0), dp.Unknown(1.0, 4.0, prior=dp.Normal(2.5, 0.5)))
    return made(model, observed(components=[0]), bounds=(-60.0, 60.0), initial=dp.Normal(-8.0, 3.0))


def weighed_anew(result):
    """R_f/R_m is counted in the R_m that the action was made with, 1, and not in 1 to 4."""
    precision = np.linspace(1.0, 4.0, TIMES.size)[:, None]
    action = result.action.observe(precision=precision)
    return dataclasses.replace(
        result, action=eqx.tree_at(lambda a: a.observations.weight, action, replace_fn=np.asarray)
    )


def same(one, other):
    """Equal to the bit: structure, dtypes, bytes and code."""
    (left, frame), (right, other_frame) = (jax.tree.flatten(x) for x in (one, other))
    assert frame == other_frame
    for a, b in zip(left, right, strict=True):
        assert type(a) is type(b)
        if isinstance(a, (jax.Array, np.ndarray)):
            assert (a.dtype, a.shape, np.asarray(a).tobytes()) == (b.dtype, b.shape, np.asarray(b).tobytes())
        else:
            assert a is b or a == b


def fields(result):
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def round_trip(result, folder, **pieces):
    result.save(folder / "run.nc")
    return dp.load(folder / "run.nc", **pieces)


# ---- To the bit ----


def test_a_result_comes_back_to_the_bit(lorenz, tmp_path):
    loaded = round_trip(lorenz, tmp_path)
    same(fields(loaded), fields(lorenz))
    assert str(loaded.report) == str(lorenz.report)
    same(dp.Result.load(tmp_path / "run.nc").action, lorenz.action)


def test_a_run_comes_back_and_forecasts_the_same(lorenz, tmp_path):
    run = dp.anneal(lorenz.action, LADDER, members=4, key=jax.random.key(0))
    loaded = round_trip(run, tmp_path)
    same(fields(loaded), fields(run))
    one, other = (result.forecast(1.2) for result in (run, loaded))
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.path, other.path)
    assert other.path.shape == (21, 3)
    np.testing.assert_allclose(run.forecast(0.81).times, [0.8, 0.81])
    with pytest.raises(ValueError, match=r"up to 10,000,000 steps; from 0\.8 to 1\.2, step=1e-12"):
        run.forecast(1.2, step=1e-12)


CASES = {
    "a parameter that varies": lambda: made(
        dp.models.Lorenz63(10.0, dp.Unknown(20.0, 40.0, varies=True)), observed(components=[0])
    ),
    "nothing unknown": lambda: made(dp.models.Lorenz63(), observed(components=[0]), convention="continuum"),
    "one forcing a site": lambda: made(
        dp.models.Lorenz96(4, dp.Unknown(np.full(4, 7.0), np.full(4, 9.0))),
        observed(components=[2]),
        model_precision=np.diag([1.0, 2.0, 3.0, 4.0]) + 0.1,
    ),
    "full-matrix precision with missing values": lambda: made(
        dp.models.Lorenz63(beta=dp.Unknown(2.0, 3.0)),
        dp.Observations(TIMES, data(2), components=[2, 0], precision=np.array([[2.0, 0.3], [0.3, 1.0]])),
        transcription=dp.ImplicitMidpoint(),
        model_precision=np.linspace(1.0, 2.0, 120).reshape(40, 3),
    ),
    "measurements weighed anew": lambda: weighed_anew(made(dp.models.Lorenz63(), observed(components=[0]))),
    "a grid finer than the data": lambda: made(
        dp.models.Lorenz63(beta=dp.Unknown(2.0, 3.0)), observed(components=[1]), steps=2
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_problem_comes_back(case, tmp_path):
    result = CASES[case]()
    same(fields(round_trip(result, tmp_path)), fields(result))


def test_a_failed_ensemble_comes_back(lorenz, tmp_path):
    failed = dataclasses.replace(
        lorenz, levels=np.full_like(lorenz.levels, np.nan), status=np.full_like(lorenz.status, Status.not_finite)
    )
    same(fields(round_trip(failed, tmp_path)), fields(failed))


# ---- What the file says ----


def test_the_file_is_a_data_tree_in_arvizs_groups(lorenz, tmp_path):
    lorenz.save(tmp_path / "run.nc")
    with xr.open_datatree(tmp_path / "run.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == {"posterior", "sample_stats", "observed_data", "constant_data"}
        assert tree["posterior/path"].dims == ("member", "time", "state")
        assert tree["posterior/parameter"].values.tolist() == ["rho", "beta"]
        assert tree["sample_stats/level"].dims == ("rung", "member")
        assert tree["sample_stats/estimate"].dims == ("rung", "member", "parameter")
        assert tree["sample_stats/status"].attrs["flag_meanings"].split()[Status.pruned] == "pruned"
        np.testing.assert_array_equal(tree["sample_stats/ratio"], lorenz.ratios)
        np.testing.assert_array_equal(tree["observed_data/value"], lorenz.action.observations.masked())
        assert tree.attrs["transcription"] == "HermiteSimpson"
        assert tree.attrs["convention"] == "interval"
        assert {"format_version", "deepest_version", "jax_version", "created_at", "dtype"} <= tree.attrs.keys()


def test_a_file_is_not_overwritten_unless_forced(lorenz, tmp_path):
    lorenz.save(tmp_path / "run.nc")
    with pytest.raises(FileExistsError, match="exists already"):
        lorenz.save(tmp_path / "run.nc")
    lorenz.save(tmp_path / "run.nc", force=True)


# ---- Code that a file names ----


def test_code_of_others_is_imported_only_where_the_file_is_trusted(tmp_path):
    model = Spiral({"decay": dp.Unknown(0.1, 1.0), "a/b": None}, (2, [jnp.asarray(1.0), float("inf")], "x"))
    result = made(model, observed(components=[0]))
    sentence = (
        r"run\.nc needs the code .*test_archive:Spiral for the model, .*pass load\(path, model=…\), or trust=True"
    )
    with pytest.raises(ValueError, match=sentence):
        round_trip(result, tmp_path)
    same(fields(dp.load(tmp_path / "run.nc", trust=True)), fields(result))
    same(fields(dp.load(tmp_path / "run.nc", model=model)), fields(result))


def test_functions_are_stored_by_name_and_their_args_by_value(tmp_path):
    args = {"stiffness": jnp.asarray(4.0), "damping": dp.Unknown(0.0, 1.0)}
    observations = dp.Observations(TIMES, data(2), operator=squared, noise=1.0)
    result = made(pendulum, observations, args=args, dimension=2, transcription=dp.OneStep(map=euler))
    result.save(tmp_path / "run.nc")
    same(fields(dp.load(tmp_path / "run.nc", trust=True)), fields(result))
    pieces = {"model": pendulum, "operator": squared, "transcription": dp.OneStep(map=euler)}
    same(fields(dp.load(tmp_path / "run.nc", **pieces)), fields(result))
    for name in pieces:
        others = {key: piece for key, piece in pieces.items() if key != name}
        with pytest.raises(ValueError, match=rf"for the {name}, .*pass load\(path, {name}=…\)"):
            dp.load(tmp_path / "run.nc", **others)


def euler(field, t, h, x):
    """A one-step map of this file's own."""
    return x + h * field(t, x)


def test_code_without_a_name_is_asked_for(tmp_path):
    decay = lambda t, x, args: -args * x
    result = made(decay, observed(), args=dp.Unknown(0.1, 2.0), dimension=1)
    with pytest.raises(ValueError, match=r"run\.nc does not hold the model, because it holds a lambda.*model=…"):
        round_trip(result, tmp_path)
    with pytest.raises(ValueError, match="lambda"):
        dp.load(tmp_path / "run.nc", trust=True)
    same(fields(dp.load(tmp_path / "run.nc", model=decay)), fields(result))


def test_another_model_than_the_file_was_made_with_is_refused(lorenz, tmp_path):
    with pytest.raises(ValueError, match=r"holds estimates of the unknowns \(rho, beta\); the model has \(rho\)"):
        round_trip(lorenz, tmp_path, model=dp.models.Lorenz63(rho=dp.Unknown(20.0, 40.0)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "it holds a object"),
        (np.array(["a"]), "an array of <U1"),
        (jnp.asarray(1j), "an array of complex"),
        (jax.random.key(0), "an array of key"),
        ({"deep": [lambda: 0]}, "lambda"),
        (lambda f=lambda: 0: f, "lambda"),
    ],
)
def test_what_cannot_be_written_says_why(value, reason):
    with pytest.raises(UnwritableError, match=reason):
        describe(value, "model", {})


@pytest.mark.parametrize("place", ["__main__", "inside"])
def test_code_from_a_script_or_a_function_says_so(place):
    def local():
        return 0

    if place == "__main__":
        local.__module__, local.__qualname__ = "__main__", "local"
    with pytest.raises(UnwritableError, match="script or notebook" if place == "__main__" else "inside a function"):
        describe(local, "model", {})


def test_values_come_back_with_their_types():
    plain = (1, True, None, "ρ", [0.1, float("-inf")], np.float32(0.1))
    value = {"a b": plain, "a/b": np.arange(3), "a_b": np.zeros((0, 2))}
    arrays = {}
    node = describe(value, "args", arrays)
    back = restore(node, arrays, trust=False)
    same(back, value)
    assert len(arrays) == 3
    assert type(back["a b"][5]) is np.float32


# ---- Bad files ----


def damaged(folder, result, change):
    result.save(folder / "run.nc")
    groups, attributes = read_tree(folder / "run.nc")
    change(groups, attributes)
    write_tree(folder / "run.nc", groups, attributes, force=True)
    return folder / "run.nc"


def specify(old, new):
    def change(groups, attributes):
        dims, text, said = groups["constant_data"]["specification"]
        assert old in str(text)
        groups["constant_data"]["specification"] = dims, np.array(str(text).replace(old, new)), said

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda groups, attributes: attributes.clear(), "not a result that deepest saved"),
        (lambda groups, attributes: attributes.update(format_version=99), "saved by another deepest"),
        (lambda groups, attributes: attributes.update(dtype="float16"), "computed in float16, and this process"),
        (lambda groups, attributes: groups.pop("posterior"), "damaged: it has no posterior"),
        (lambda groups, attributes: groups["sample_stats"].pop("level"), "damaged: it has no level"),
        (specify("deepest.models:Lorenz63", "deepest.models:Lorenz99"), "is not there any more: pass .*model=…"),
        (specify("deepest.models:Lorenz63", "os:system"), "needs the code os:system"),
        (specify("deepest.models:Lorenz63", "deepest.io._files:os.remove"), "needs the code deepest.*os.remove"),
        (specify("deepest.models:Lorenz63", "deepest.io:Table"), "no Equinox module"),
        (specify('"sigma"', '"prandtl"'), "holds a model .*now has the fields"),
    ],
)
def test_a_bad_result_is_named_and_nothing_of_others_runs(lorenz, tmp_path, change, sentence):
    path = damaged(tmp_path, lorenz, change)
    with pytest.raises(ValueError, match=sentence) as error:
        dp.load(path)
    assert str(path) in str(error.value)


def test_a_foreign_file_is_named(tmp_path):
    (tmp_path / "run.nc").write_text("0,1\n")
    with pytest.raises(ValueError, match=r"run\.nc is not a NetCDF-4 file"):
        dp.load(tmp_path / "run.nc")
    write_tree(tmp_path / "other.nc", {"data": {"v": (("t",), np.zeros(2), {})}}, {})
    with pytest.raises(ValueError, match=r"other\.nc is a NetCDF file, but not a result"):
        dp.load(tmp_path / "other.nc")
