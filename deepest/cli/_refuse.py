"""Saying no: one sentence on stderr, and exit status 2."""

import contextlib
import difflib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

# What the library suggests to programmers, and what there is for it here.
_INSTEAD = {
    "pass load(path, model=…), or trust=True to import it": "add --trust to import it, if the file is yours",
    "pass `dimension=` beside it": "write dimension = … in [model]",
    "force=True": "--force",
    "trust=True": "--trust",
}


class Refusal(Exception):  # noqa: N818
    """What was asked for cannot be done; its message is the sentence that says why."""


class Failure(Exception):  # noqa: N818
    """What was asked for was tried, and nothing came out; its message is the sentence that says why."""


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """The part of a command that deals with what the user gave: a `ValueError` or `OSError` in it is theirs."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise Refusal(sentence(error)) from error


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command that says its refusals and failures, and leaves all other exceptions alone."""

    @functools.wraps(function)
    def said(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except Refusal as refusal:
            tell(f"deepest: {refusal}")
            raise typer.Exit(2) from None
        except Failure as failure:
            tell(f"deepest: {failure}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            tell("deepest: interrupted; nothing half-done was left behind.")
            raise typer.Exit(130) from None

    return said


def tell(message: str) -> None:
    """A line on stderr, in one piece however narrow the terminal."""
    Console(stderr=True).print(Text(message), soft_wrap=True)


def sentence(error: BaseException) -> str:
    """An exception's message as a sentence."""
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}."
    said = str(error)
    for code, option in _INSTEAD.items():
        said = said.replace(code, option)
    return said


def nearest(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that does not exist, with the nearest one that does."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f'; did you mean "{near[0]}"?' if near else "."
    return f'There is no {kind} "{name}"{hint} Known: {", ".join(known)}.'
