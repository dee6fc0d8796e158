"""How every test runs: double precision, nothing promoted silently, every annotated shape checked, no window opened."""

import os

import jax
import jaxtyping


def pytest_addoption(parser):
    parser.addoption("--float32", action="store_true", help="switch x64 off and run only the tests marked float32")


def pytest_configure(config):
    """Set up before a test module, and with it deepest, is imported."""
    os.environ["MPLBACKEND"] = "Agg"
    jax.config.update("jax_enable_x64", not config.option.float32)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jaxtyping.install_import_hook("deepest", "beartype.beartype")


def pytest_collection_modifyitems(config, items):
    if config.option.float32:
        others = [item for item in items if item.get_closest_marker("float32") is None]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item.get_closest_marker("float32") is not None]
