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
    jax.config.update("jax_enable_x64", not float32)
    if cache:
        _cache(jax.config.values["jax_compilation_cache_dir"] or cache_folder())


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


# One event a worker, set when it has ended. (Thread.join, interrupted, takes a living thread for a dead one.)
_workers: list[threading.Event] = []


def patiently(work: Callable[[], T]) -> T:
    """`work()` in a thread of its own, so that Ctrl-C is heard while XLA compiles, which may take half a minute."""
    done: list[T] = []
    failed: list[BaseException] = []
    ended = threading.Event()

    def target() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    _workers.append(ended)
    threading.Thread(target=target, daemon=True).start()
    while not ended.wait(0.1):
        pass
    if failed:
        raise failed[0]
    return done[0]


def leave(code: int) -> None:
    """End the process, at once where a worker is still computing: an interpreter cannot shut down around it."""
    if all(ended.is_set() for ended in _workers):
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
