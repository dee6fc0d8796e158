"""Files that are whole or absent."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """A name to write under, whose file becomes `path` when the block ends, and vanishes when the block fails.

    It lies in the same folder, has the same suffix, and no other process uses it: a reader finds the old file or the
    new one, whoever writes at the same time and whatever interrupts it.

    Raises `FileExistsError` where `path` exists, unless `force`; `FileNotFoundError` where its folder does not;
    `IsADirectoryError` where it is a folder; `OSError` in one sentence where the disk is full or the folder is closed.
    """
    target = Path(os.path.realpath(path))
    _check(path, target, force)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}-{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        _publish(path, temporary, target, force)
    except OSError as error:
        if error.errno in _FULL:
            raise _said(error, f"The disk is full: {path} was not written, and what was there is unharmed.") from error
        if error.filename is not None and Path(error.filename) == temporary:
            raise _said(error, f"{path} cannot be written: {error.strerror}.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def readable(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of a file. Raises `ValueError` where there is no file, or none that may be read."""
    if not Path(path).exists():
        raise ValueError(f"{path} does not exist.")
    try:
        with open(path, "rb") as file:
            return file.read(8)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error


def _check(path, target: Path, force: bool) -> None:
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: the folder {target.parent} does not exist.")
    if target.exists() and not force:
        raise _taken(path)


def _publish(path, temporary: Path, target: Path, force: bool) -> None:
    """Rename; without `force` by a hard link, which fails where another process was faster."""
    if force:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise _taken(path) from None
        temporary.replace(target)


def _taken(path) -> FileExistsError:
    return FileExistsError(f"{path} exists already; choose another name, or overwrite it with force=True.")


def _said(error: OSError, sentence: str) -> OSError:
    """The same kind of error with a sentence in place of its message."""
    told = type(error)(sentence)
    told.errno = error.errno
    return told
