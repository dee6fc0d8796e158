"""One writer a file."""

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deepest import _lazy

if TYPE_CHECKING:
    from deepest.io import _lock
else:
    _lock = _lazy.lazy("deepest.io._lock", extra="io")


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """The right to write `path`, which one process has at a time, and loses when it ends, however it ends.

    What processes that were killed left beside it is cleared away. Raises `BlockingIOError` where another process has
    the right, `OSError` where the folder is missing or closed, and `ImportError` without the extra `io`.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: the folder {target.parent} does not exist.")
    try:
        lock = _lock.acquire(_beside(target))
    except OSError as error:
        raise type(error)(f"Nothing can be written in the folder {target.parent}: {error.strerror}.") from error
    if lock is None:
        raise BlockingIOError(
            f"{path} is being written by another process: wait until it has ended, or choose another name."
        )
    try:
        _clear_parts(target)
        yield
    finally:
        clear(target)
        lock.release()


def clear(path: str | os.PathLike[str]) -> None:
    """Remove what this process, or one that was killed, leaves beside `path` when it ends while writing it."""
    target = Path(os.path.realpath(path))
    _clear_parts(target)
    _beside(target).unlink(missing_ok=True)


def _clear_parts(target: Path) -> None:
    """Remove what `atomic` had begun to write."""
    for part in target.parent.glob(f".{glob.escape(target.stem)}.[0-9]*-[0-9a-f]*{target.suffix}"):
        part.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")
