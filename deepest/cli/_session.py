"""How a command sets the process up, and how it computes so that Ctrl-C is heard."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax

from deepest.cli._refuse import tell

T = TypeVar("T")


def prepare(*, float32: bool = False, cache: bool = True) -> None:
    """Precision, pictures without windows, and jax's compilation cache, for the rest of the process."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    # XLA remarks on every cached program that it was compiled with tuning hints that are no features of a processor.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    jax.config.update("jax_enable_x64", not float32)
    if cache:
        _cache(jax.config.jax_compilation_cache_dir or cache_folder())


def cache_folder() -> Path:
    """The folder in the user's cache in which compiled programs are kept."""
    if "XDG_CACHE_HOME" in os.environ:
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "deepest" / "compiled"


def _cache(folder: str | Path) -> None:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        tell(f"deepest: no cache for compiled programs, because {folder} cannot be made: {error.strerror}.")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


_workers: list[threading.Thread] = []


def patiently(work: Callable[[], T]) -> T:
    """`work()` in a thread of its own, so that Ctrl-C is heard while XLA compiles, which may take half a minute."""
    done: dict[str, T] = {}
    failed: list[BaseException] = []

    def target() -> None:
        try:
            done["value"] = work()
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=target, daemon=True)
    _workers.append(worker)
    worker.start()
    while worker.is_alive():
        worker.join(0.1)
    if failed:
        raise failed[0]
    return done["value"]


def leave(code: int) -> None:
    """End the process, at once where a worker is still computing: an interpreter cannot shut down around it."""
    if any(worker.is_alive() for worker in _workers):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
