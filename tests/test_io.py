"""Tables from every format people have, groups of arrays to the bit, and files that are whole or absent."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import deepest
from deepest import io
from deepest._lazy import lazy
from deepest.io import atomic, read_table, read_tree, write_tree

TIMES, VALUES = np.array([0.0, 0.5, 1.0]), np.array([[1.0, -2.5], [np.nan, 1e-300], [0.1 + 0.2, 4.0]])


def text(folder, content, name="data.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(separator):
    return "".join(
        separator.join([repr(t), *("" if np.isnan(v) else repr(v) for v in row)]) + "\n"
        for t, row in zip(TIMES.tolist(), VALUES.tolist(), strict=True)
    )


# ---- Tables ----


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(("header", "names"), [(None, ("y1", "y2")), (("t", "v", "n"), ("v", "n"))])
def test_text_is_read_to_the_bit(tmp_path, separator, header, names):
    first = "" if header is None else separator.join(header) + "\n"
    table = read_table(text(tmp_path, "# a comment\n\n" + first + rows(separator)))
    np.testing.assert_array_equal(table.times, TIMES)
    np.testing.assert_array_equal(table.values, VALUES)
    assert table.names == names


def test_text_of_savetxt_is_read(tmp_path):
    np.savetxt(tmp_path / "data.txt", np.column_stack([TIMES, VALUES]), header="t v n")
    np.testing.assert_array_equal(read_table(tmp_path / "data.txt").values, VALUES)


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "NA", " "])
def test_what_is_blank_is_missing(tmp_path, missing):
    table = read_table(text(tmp_path, f"time,v\n0,1\n1,{missing}\n"))
    np.testing.assert_array_equal(table.values, [[1.0], [np.nan]])


@pytest.mark.parametrize(
    ("header", "time"),
    [("v,t", "t"), ("v,Time (s)", "Time (s)"), ("v,T", "v"), ("year,v", "year"), ("v,t [ms]", "t [ms]")],
)
def test_the_time_column_is_found_by_name_or_is_the_first(tmp_path, header, time):
    table = read_table(text(tmp_path, f"{header}\n0,10\n1,20\n"))
    expected = [0.0, 1.0] if header.split(",")[0] == time else [10.0, 20.0]
    np.testing.assert_array_equal(table.times, expected)
    assert time not in table.names


def test_columns_are_read_by_name_and_in_order_and_others_do_not_matter(tmp_path):
    path = text(tmp_path, '\ufefft,site,v,"a, b"\r\n0,here,1,2\r\n1,there,3,4\r\n')
    table = read_table(path, columns=["a, b", "v"])
    np.testing.assert_array_equal(table.values, [[2.0, 1.0], [4.0, 3.0]])
    np.testing.assert_array_equal(read_table(path, time="v", columns=["t"]).times, [1.0, 3.0])


def test_text_from_a_windows_spreadsheet_is_read(tmp_path):
    assert read_table(text(tmp_path, "t;V (µV)\n0;1\n".encode("cp1252"))).names == ("V (µV)",)


def test_an_array_file_is_varanneals(tmp_path):
    np.save(tmp_path / "data.npy", np.column_stack([TIMES, VALUES]))
    table = read_table(tmp_path / "data.npy")
    np.testing.assert_array_equal(table.times, TIMES)
    np.testing.assert_array_equal(table.values, VALUES)
    assert table.names == ("y1", "y2")
    assert read_table(tmp_path / "data.npy", columns=["y2"]).names == ("y2",)


def netcdf(folder, **changes):
    data = xr.Dataset(
        {
            "v": ("time", VALUES[:, 0]),
            "x": (("component", "time"), VALUES.T),
            "scalar": ((), 3.0),
            "other": ("elsewhere", [1.0]),
        },
        coords={"time": ("time", TIMES, {"units": "seconds since 2000-01-01"}), "component": ["a", "b"]},
    )
    data.rename(changes).to_netcdf(folder / "data.nc", engine="h5netcdf")
    return folder / "data.nc"


def test_netcdf_is_read_by_its_time_coordinate(tmp_path):
    table = read_table(netcdf(tmp_path))
    assert table.names == ("v", "x[a]", "x[b]")
    np.testing.assert_array_equal(table.times, TIMES)
    np.testing.assert_array_equal(table.values, VALUES[:, [0, 0, 1]])
    assert read_table(netcdf(tmp_path), columns=["x"]).names == ("x[a]", "x[b]")
    assert read_table(netcdf(tmp_path, time="stamp"), time="stamp").names == table.names


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("no.csv", None, {}, "does not exist"),
        ("folder", "folder", {}, "cannot be read"),
        ("a.csv", "", {}, "no rows"),
        ("a.csv", "t,v\n", {}, "no rows"),
        ("a.csv", "t,v\n0,1\n1,x1\n", {}, r'line 3, column "v": expected a number, .* received "x1"'),
        ("a.csv", "# said\nt,v\n\n0,1\noops,1\n", {}, 'line 5, column "t".*received "oops"'),
        ("a.csv", "t,v\n0,1\n1\n", {}, "line 3: expected 2 columns .* received 1"),
        ("a.csv", "t,v\n0,1\n,1\n", {}, 'the time "t" is missing in row 2'),
        ("a.csv", "t,v,v\n0,1,2\n", {}, 'two columns called "v"'),
        ("a.csv", "0\n1\n", {}, "no column beside the time"),
        ("a.csv", "t,voltage\n0,1\n", {"columns": ["voltge"]}, 'no column "voltge"; did you mean "voltage"'),
        ("a.csv", "t,voltage\n0,1\n", {"time": "tme"}, 'no column "tme"'),
        ("a.csv", "t,v\n0,1\n", {"columns": ["v", "v"]}, '"v" was asked for twice'),
        ("a.csv", b"PK\x03\x04\x00\x00", {}, "a format that is not read here"),
        ("a.npy", b"\x93NUMPY\x01\x00", {}, "not a NumPy array file, or is damaged"),
        ("a.npy", "0,1\n", {}, "not a NumPy array file, or is damaged"),
        ("a.npy", np.zeros(3), {}, r"expected numbers of shape \(K, 1 \+ L\)"),
        ("a.npy", np.zeros((3, 1)), {}, "at least one more"),
        ("a.npy", np.array([["a", "b"]]), {}, "received <U1"),
        ("a.nc", "0,1\n", {}, "not a NetCDF-4 file, or is damaged"),
        ("a.nc", b"CDF\x01" + bytes(40), {}, "NetCDF-3 file; convert"),
        ("a.nc", xr.Dataset({"v": ("x", [1.0])}), {}, r"no time column: .* \(v\) is called time or t"),
        ("a.nc", xr.Dataset({"v": ("t", [1.0])}, {"t": [0.0]}), {"time": "when"}, 'is called "when"'),
        ("a.nc", xr.Dataset({"v": ("t", ["one"])}, {"t": [0.0]}), {}, 'variable "v": expected numbers'),
        ("a.nc", xr.Dataset({"v": ("t", [1.0])}, {"t": [0.0]}), {"columns": ["u"]}, 'no column "u"'),
    ],
)
def test_a_bad_table_is_named_in_one_sentence(tmp_path, name, content, options, sentence):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, xr.Dataset):
        content.to_netcdf(path, engine="h5netcdf")
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        text(tmp_path, content, name)
    with pytest.raises(ValueError, match=sentence) as error:
        read_table(path, **options)
    assert str(path) in str(error.value)


# ---- Groups ----

GROUPS = {
    "posterior": {
        "member": (("member",), np.arange(2), {}),
        "path": (("member", "time"), np.array([[np.nan, -0.0, np.inf], [5e-324, 0.1, -1e300]]), {"long_name": "path"}),
        "none": (("member", "parameter"), np.zeros((2, 0)), {}),
        "single": (("time",), np.float32([0.1, np.nan, 1.0]), {}),
    },
    "constant_data": {
        "flags": (("member",), np.array([True, False]), {}),
        "names": (("name",), np.array(["ρ", "σ x"]), {}),
        "model.forcing": ((), np.array(8.17), {}),
        "long": ((), np.array("x" * 100_000), {}),
        "code": (("member",), np.array([3, 4], np.int32), {"flag_meanings": "a b", "units": "days since 2000-01-01"}),
    },
}


def test_groups_come_back_to_the_bit(tmp_path):
    write_tree(tmp_path / "a.nc", GROUPS, {"format": "x", "version": 1})
    groups, attributes = read_tree(tmp_path / "a.nc")
    assert attributes == {"format": "x", "version": 1}
    assert groups.keys() == GROUPS.keys()
    for group, variables in GROUPS.items():
        assert groups[group].keys() == variables.keys()
        for name, (dims, array, said) in variables.items():
            got_dims, got, got_said = groups[group][name]
            assert (got_dims, got.shape, got_said) == (dims, array.shape, said)
            assert got.dtype.kind == array.dtype.kind == "U" or got.dtype == array.dtype
            assert got.tolist() == array.tolist() if got.dtype.kind == "U" else got.tobytes() == array.tobytes()


def test_xarray_reads_the_file(tmp_path):
    write_tree(tmp_path / "a.nc", GROUPS, {})
    with xr.open_datatree(tmp_path / "a.nc", engine="h5netcdf", decode_times=False) as tree:
        assert set(tree.children) == set(GROUPS)
        assert tree["posterior"]["path"].dims == ("member", "time")
        assert "member" in tree["posterior"].coords


@pytest.mark.parametrize("kept", [0, 7, 100, 4000, -1])
def test_a_truncated_file_is_named_never_half_read(tmp_path, kept):
    write_tree(tmp_path / "a.nc", GROUPS, {})
    whole = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc").write_bytes(whole[:kept])
    with pytest.raises(ValueError, match=r"a\.nc is not a NetCDF-4 file, or is damaged"):
        read_tree(tmp_path / "a.nc")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no\.nc does not exist"):
        read_tree(tmp_path / "no.nc")


# ---- Whole or absent ----


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, content, **options):
    with atomic(path, **options) as temporary:
        temporary.write_bytes(content)


def test_an_existing_file_stays_unless_forced(tmp_path):
    path = tmp_path / "a.nc"
    write(path, b"old")
    with pytest.raises(FileExistsError, match=r"a\.nc exists already; .*force=True"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    write(path, b"new", force=True)
    assert path.read_bytes() == b"new"
    assert listing(tmp_path) == ["a.nc"]


def test_a_file_that_appears_meanwhile_stays(tmp_path):
    def slow():
        with atomic(tmp_path / "a.nc") as temporary:
            temporary.write_bytes(b"late")
            (tmp_path / "a.nc").write_bytes(b"early")

    with pytest.raises(FileExistsError, match="exists already"):
        slow()
    assert (tmp_path / "a.nc").read_bytes() == b"early"
    assert listing(tmp_path) == ["a.nc"]


def test_a_file_system_without_hard_links_serves_too(tmp_path, monkeypatch):
    def refuse(*names):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "a.nc", b"new")
    assert listing(tmp_path) == ["a.nc"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("model"), OSError(errno.EIO, "Input/output")])
def test_a_failure_leaves_no_trace(tmp_path, failure):
    def interrupted():
        with atomic(tmp_path / "a.nc", force=True) as temporary:
            temporary.write_bytes(b"half")
            raise failure

    write(tmp_path / "a.nc", b"old")
    with pytest.raises(type(failure)):
        interrupted()
    assert (tmp_path / "a.nc").read_bytes() == b"old"
    assert listing(tmp_path) == ["a.nc"]


def test_a_full_disk_is_one_sentence_and_harms_nothing(tmp_path):
    def full():
        with atomic(tmp_path / "a.nc", force=True) as temporary:
            temporary.write_bytes(b"ne")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path / "a.nc", b"old")
    with pytest.raises(OSError, match=r"^The disk is full: .*a\.nc was not written.*unharmed\.$") as error:
        full()
    assert error.value.errno == errno.ENOSPC
    assert (tmp_path / "a.nc").read_bytes() == b"old"
    assert listing(tmp_path) == ["a.nc"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_truly_full_disk(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        write(tmp_path / "a.nc", b"old")
        with pytest.raises(OSError, match="The disk is full"):
            write_tree(tmp_path / "a.nc", GROUPS, {}, force=True)
        assert (tmp_path / "a.nc").read_bytes() == b"old"
        assert listing(tmp_path) == ["a.nc"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [("no/a.nc", FileNotFoundError, "folder .*no does not exist"), (".", IsADirectoryError, "is a folder")],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path, name, kind, sentence):
    with pytest.raises(kind, match=sentence):
        write(tmp_path / name, b"new")


def test_a_link_keeps_pointing_at_the_file(tmp_path):
    write(tmp_path / "a.nc", b"old")
    (tmp_path / "link.nc").symlink_to("a.nc")
    write(tmp_path / "link.nc", b"new", force=True)
    assert (tmp_path / "a.nc").read_bytes() == b"new"
    assert (tmp_path / "link.nc").is_symlink()


# The file alone, without the rest of deepest: two processes that start at once.
WRITER = """
import runpy, sys
atomic = runpy.run_path(sys.argv[1])["atomic"]
for _ in range(200):
    with atomic(sys.argv[2], force=True) as temporary:
        temporary.write_bytes(sys.argv[3].encode() * 10_000)
"""


def test_two_writers_of_one_name_do_not_mix(tmp_path):
    path, module = tmp_path / "a.nc", sys.modules["deepest.io._files"].__file__
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, module, path, fill]) for fill in "12"]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert path.read_bytes() in (b"1" * 10_000, b"2" * 10_000)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert listing(tmp_path) == ["a.nc"]


# ---- Optional dependencies ----


@pytest.mark.parametrize(
    ("module", "library", "extra", "use", "sentence"),
    [
        (
            "deepest.io._netcdf",
            "xarray",
            "io",
            "encode",
            r"^deepest\.io needs xarray: pip .* 'deepest-learning\[io\]'$",
        ),
        ("deepest.io._netcdf", "h5netcdf", "io", "encode", r"^deepest\.io needs h5netcdf: .*\[io\]'$"),
        ("deepest.plot._save", "matplotlib", "plot", "save", r"^deepest\.plot needs matplotlib: .*\[plot\]'$"),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_brings_it(monkeypatch, module, library, extra, use, sentence):
    for name in [name for name in sys.modules if name == module or name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    proxy = lazy(module, extra=extra)
    with pytest.raises(ImportError, match=sentence):
        getattr(proxy, use)


def test_a_lazy_module_is_the_module_once_used():
    proxy = lazy("deepest.io", extra="io")
    assert proxy.read_table is io.read_table
    assert "read_table" in dir(proxy)
    with pytest.raises(AttributeError, match="nothing"):
        _ = proxy.nothing
    assert not hasattr(proxy, "__wrapped__")


def test_an_error_inside_deepest_is_not_called_a_missing_library():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'deepest\.nowhere'"):
        _ = lazy("deepest.nowhere", extra="io").anything


def test_importing_deepest_loads_nothing_optional():
    code = "import sys, deepest; print(*{'xarray', 'h5netcdf', 'matplotlib', 'pandas'} & sys.modules.keys())"
    house = os.path.dirname(deepest.__path__[0])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=house)
    assert done.stdout.strip() == ""
