"""What filelock does for this room; loaded on first use, because it is optional."""

from pathlib import Path

import filelock


def acquire(path: Path) -> filelock.BaseFileLock | None:
    """A lock on the file `path`, which the system takes back when the process ends; None where another has it."""
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return None
    return lock
