"""What a configuration may hold: every table, every key, and what kind of value it takes."""

import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deepest.cli._refuse import Refusal, nearest

Kind = tuple[str, Callable[[Any], bool]]


def _is_number(x: Any) -> bool:
    return isinstance(x, float) or (_is_whole(x) and abs(x) <= sys.float_info.max)


def _is_whole(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


def _list_of(one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda x: isinstance(x, list) and len(x) > 0 and all(one(item) for item in x)


def _is_entry(x: Any) -> bool:
    return _is_number(x) or _list_of(_is_number)(x)


TEXT: Kind = ("a text in quotes", lambda x: isinstance(x, str))
TEXTS: Kind = ("a list of texts", _list_of(TEXT[1]))
WHOLE: Kind = ("a whole number", _is_whole)
WHOLES: Kind = ("a list of whole numbers", _list_of(_is_whole))
NUMBER: Kind = ("a number", _is_number)
NUMBERS: Kind = ("a number or a list of numbers", _is_entry)
RANGE: Kind = ("a pair [lower, upper]", lambda x: isinstance(x, list) and len(x) == 2 and all(map(_is_entry, x)))
PRECISION: Kind = ('a number, a list of numbers, or "range"', lambda x: x == "range" or _is_entry(x))
SWITCH: Kind = ("true or false", lambda x: isinstance(x, bool))

TABLES: dict[str, dict[str, Kind]] = {
    "model": {"name": TEXT},
    "data": {"file": TEXT, "time": TEXT, "columns": TEXTS, "components": WHOLES, "noise": NUMBERS, "breaks": NUMBERS},
    "state": {"spread": RANGE, "bounds": RANGE, "precision": PRECISION},
    "transcription": {"name": TEXT, "steps": WHOLE, "step": NUMBER, "convention": TEXT},
    "ladder": {"start": NUMBER, "factor": NUMBER, "rungs": WHOLE, "largest": NUMBER},
    "ensemble": {"members": WHOLE, "seed": WHOLE, "draws": WHOLE, "starts": TEXT},
    "output": {"file": TEXT, "plots": SWITCH},
}
NEEDED = (("model", "name"), ("data", "file"), ("data", "noise"))


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a configuration file, complete, and with nothing in them that is not understood."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        held = tomllib.loads(text)
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} is not a configuration: it is no text in UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path} is not valid TOML: {error}.") from error
    for name, table in held.items():
        _check_table(path, name, table)
    for table, key in NEEDED:
        if key not in held.get(table, {}):
            raise Refusal(f"{path} needs {key} = … in its table [{table}]; see deepest anneal --example.")
    return {name: held.get(name, {}) for name in TABLES}


def _check_table(path: Path, name: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise Refusal(f"{path}: {_homeless(name)}")
    if name not in TABLES:
        raise Refusal(f"{path}: {nearest('table called', name, TABLES)}")
    known = TABLES[name]
    for key, value in table.items():
        if key not in known:
            if name == "model":
                continue
            raise Refusal(f"{path}: {nearest(f'key in [{name}] called', key, known)}")
        wanted, fits = known[key]
        if not fits(value):
            raise Refusal(f"{path}: {key} in [{name}] is {wanted}; received {value!r}.")


def _homeless(name: str) -> str:
    """The sentence for a key that stands above the first table."""
    if name in TABLES:
        return f"{name} is a table; write [{name}] on a line of its own and its keys below."
    homes = {key: table for table, keys in TABLES.items() for key in keys}
    if name in homes:
        return f"{name} belongs in a table; write it below [{homes[name]}]."
    return nearest("key called", name, homes)


def fields(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Those keys of a table that are there."""
    return {key: table[key] for key in keys if key in table}
