"""How every test runs: double precision, nothing promoted silently, every annotated shape checked, no window opened."""

import os
import subprocess
import sys

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
    if not config.option.float32 and config.option.markexpr == "not slow":
        # Most of a quick test is the compiler's work, and the most of that is to make fast what runs once. What is
        # slow or in float32 is compiled as it is elsewhere.
        jax.config.update("jax_disable_most_optimizations", True)
        quicker("--xla_cpu_use_fusion_emitters=false")
    jaxtyping.install_import_hook("deepest", "beartype.beartype")


def quicker(flag):
    """Give XLA a flag, for this process and the workers it starts; XLA ends a process for a flag that it lacks."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    if flag not in os.environ.get("XLA_FLAGS", ""):
        known = [sys.executable, "-c", "import jax; jax.devices()"]
        if subprocess.run(known, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True).returncode == 0:
            os.environ["XLA_FLAGS"] = flags


def pytest_collection_modifyitems(config, items):
    if config.option.float32:
        others = [item for item in items if item.get_closest_marker("float32") is None]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item.get_closest_marker("float32") is not None]
