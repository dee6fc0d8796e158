"""The rules of the house. Each is a function that yields what breaks it, by file and line."""

import ast
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

import pytest
from equinox import Enumeration
from importlinter.cli import lint_imports

import deepest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "deepest"
FUNCTION_LINES, FILE_LINES = 60, 400
OWNERS = {
    "matplotlib": "plot",
    "xarray": "io",
    "h5netcdf": "io",
    "sklearn": "io",
    "typer": "cli",
    "rich": "cli",
    "blackjax": "posterior",
}
SHAPED = re.compile(r"\w+\[[\w.]*(?:Array|ndarray|ArrayLike), '(?!\.\.\.)[^']*'\]|PyTree\[\w*\]")
BARE = re.compile(r"\b(?:Array|ndarray|ArrayLike)\b")
# (N,) · (K, L) · (2D + q, E) · (dimension,), or in words: a scalar, one number a component.
SHAPE = re.compile(r"\((?:[A-Z0-9][^(),]{0,9}, ?)+(?:[A-Z0-9][^(),]{0,9})?\)|\(\w+,\)|\bscalars?\b|\bnumbers?\b")

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def parsed(*folders):
    """Path, text and syntax tree of every source file in folders of the repository."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            yield path.relative_to(ROOT), text, ast.parse(text)


def nodes(tree, kind):
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def rooms():
    """Each room's name with the syntax tree of its front door."""
    for path in sorted(HOUSE.glob("*/__init__.py")):
        yield path.parent.name, ast.parse(path.read_text("utf-8"))


def public(room, front):
    """(name, place, definition) of what a room re-exports, where that is a class or a function."""
    names = {
        alias.asname for node in nodes(front, ast.ImportFrom) for alias in node.names if alias.asname == alias.name
    }
    for path, _, tree in parsed(f"deepest/{room}"):
        for node in tree.body:
            if isinstance(node, (ast.ClassDef, *Function)) and node.name in names:
                yield node.name, f"{path}:{node.lineno}", node


def classes():
    """Every class that deepest defines, enumerations of sentences left out."""
    for module in pkgutil.walk_packages(deepest.__path__, "deepest."):
        if not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(value) and value.__module__ == module.name and not issubclass(value, Enumeration):
                    yield value


def is_abstract(cls):
    kinds = ("__abstractmethods__", "__abstractvars__", "__abstractclassvars__")
    return any(getattr(cls, kind, ()) for kind in kinds)


def place(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def concrete(cls):
    """Names of the methods and properties that a class itself implements."""
    for name, value in vars(cls).items():
        implemented = callable(value) or isinstance(value, (property, classmethod, staticmethod))
        special = name.startswith("__") and name != "__call__"
        if implemented and not special and not getattr(value, "__isabstractmethod__", False):
            yield name


# ---- The rules ----


def an_abstract_class_is_called_so():
    for cls in classes():
        if is_abstract(cls) != cls.__name__.lstrip("_").startswith("Abstract"):
            yield f"{place(cls)} is {'' if is_abstract(cls) else 'not '}abstract"


def a_class_is_abstract_or_final():
    for cls in classes():
        for base in cls.__mro__[1:]:
            if base.__module__.startswith("deepest") and not is_abstract(base):
                yield f"{place(cls)} inherits from {place(base)}, which is concrete"


def no_concrete_method_is_overridden():
    for cls in classes():
        for base in cls.__mro__[1:]:
            if base.__module__.startswith("deepest"):
                for name in set(concrete(cls)) & set(concrete(base)):
                    yield f"{place(cls)}.{name} overrides {place(base)}.{name}"


def an_abstract_class_holds_no_fields():
    for cls in filter(is_abstract, classes()):
        for name, annotation in inspect.get_annotations(cls).items():
            if not re.search(r"Abstract(Class)?Var|ClassVar", str(annotation)):
                yield f"{place(cls)}.{name} is a field of an abstract class"


def no_import_is_delayed():
    for path, _, tree in parsed("deepest"):
        for function in nodes(tree, Function):
            for node in nodes(function, (ast.Import, ast.ImportFrom)):
                yield f"{path}:{node.lineno} imports inside {function.name}"


def a_lazy_module_is_of_its_own_room():
    """`lazy("deepest.io._netcdf")` is an import that the contract does not see."""
    for path, _, tree in parsed("deepest"):
        for call in nodes(tree, ast.Call):
            if getattr(call.func, "attr", getattr(call.func, "id", "")) == "lazy":
                room, target = path.parts[1], ast.literal_eval(call.args[0])
                if room != "__init__.py" and not target.startswith(f"deepest.{room}."):
                    yield f"{path}:{call.lineno} imports {target} behind the contract's back"


def a_library_is_used_in_its_room_only():
    for path, _, tree in parsed("deepest"):
        for node in nodes(tree, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for library in {name.partition(".")[0] for name in names} & OWNERS.keys():
                if path.parts[1] not in (OWNERS[library], f"{OWNERS[library]}.py"):
                    yield f"{path}:{node.lineno} imports {library}, which belongs to {OWNERS[library]}"


def no_function_is_long():
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for path, text, tree in parsed("deepest", "tests", "benchmarks"):
        code = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in skipped:
                code.update(range(token.start[0], token.end[0] + 1))
        for node in nodes(tree, (ast.ClassDef, *Function)):
            if ast.get_docstring(node, clean=False) is not None:
                code -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        for node in nodes(tree, Function):
            lines = len(code & set(range(node.lineno, node.end_lineno + 1)))
            if lines > FUNCTION_LINES:
                yield f"{path}:{node.lineno} {node.name} has {lines} lines of code; {FUNCTION_LINES} are allowed"


def no_file_is_long():
    for path, text, _ in parsed("deepest", "tests", "benchmarks"):
        lines = text.count("\n")
        if lines > FILE_LINES:
            yield f"{path} has {lines} lines; {FILE_LINES} are allowed"


def a_room_says_what_it_is_and_what_it_uses():
    """`__init__` ends with "Uses `linalg`, `paths`." or with "imports nothing of deepest", and it is true."""
    known = {room for room, _ in rooms()}
    for room, front in rooms():
        said = ast.get_docstring(front) or ""
        imported = {
            node.module.split(".")[1]
            for _, _, tree in parsed(f"deepest/{room}")
            for node in nodes(tree, ast.ImportFrom)
            if node.module and node.module.startswith("deepest.")
        }
        used = imported & known - {room}
        closing = re.search(r"Uses ([^.]*)\.|imports nothing of deepest", said)
        if closing is None:
            yield f"deepest/{room}/__init__.py does not say which rooms it uses"
        elif (set(re.findall(r"`(\w+)`", closing[1] or "")) & known) - {room} != used:
            yield f"deepest/{room}/__init__.py says {closing[0]!r}; it uses {sorted(used)}"


def a_public_name_is_documented():
    for room, front in rooms():
        for name, where, node in public(room, front):
            if not ast.get_docstring(node):
                yield f"{where} {name} has no docstring"


def a_public_method_is_documented():
    """By the class or by the abstract class that declares it."""
    for room, front in rooms():
        for name, where, node in public(room, front):
            if isinstance(node, ast.ClassDef):
                cls = getattr(importlib.import_module(f"deepest.{room}"), name)
                for method in concrete(cls):
                    declared = (vars(base)[method] for base in cls.__mro__ if method in vars(base))
                    if not method.startswith("_") and not any(one.__doc__ for one in declared):
                        yield f"{where} {name}.{method} has no docstring"


def a_public_array_has_a_shape():
    """In its type, or where the type is silent (ArrayLike, "..."), in the docstring: (N,), (K, L), a scalar."""
    for room, front in rooms():
        for name, where, node in public(room, front):
            said = ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef):
                own = [part.annotation for part in node.body if isinstance(part, ast.AnnAssign)]
                inits = [part for part in node.body if isinstance(part, Function) and part.name == "__init__"]
            else:
                own, inits = [node.returns], [node]
            own += [each.annotation for init in inits for each in nodes(init.args, ast.arg)]
            silent = any(BARE.search(SHAPED.sub("", ast.unparse(each))) for each in own if each is not None)
            if silent and not SHAPE.search(said):
                yield f"{where} {name} takes or gives arrays, and neither its types nor its docstring say their shape"


def a_citation_is_in_the_bibliography():
    keys = re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "docs/refs.bib").read_text("utf-8"), re.MULTILINE)
    yield from (f"docs/refs.bib has {key} {count} times" for key, count in Counter(keys).items() if count > 1)
    for path, text, _ in parsed("deepest"):
        for number, line in enumerate(text.splitlines(), 1):
            for key in re.findall(r"\[([a-z]+\d{4}[a-z]?)\]", line):
                if key not in keys:
                    yield f"{path}:{number} cites {key}, which docs/refs.bib does not have"


def no_file_names_a_folder_of_one_machine():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, tracked.stdout.decode().split("\0")):
        path = ROOT / name
        data = path.read_bytes() if path.is_file() else b""
        if b"\0" not in data:
            for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
                if re.search(r"(?:^|[\s\"'`(=:,])/(?:work|tmp|root|opt|home|Users)\b", line):
                    yield f"{name}:{number} names a folder of one machine: {line.strip()}"


def the_code_in_the_documents_compiles():
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for block in re.findall(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            try:
                compile(block, path.name, "exec")
            except SyntaxError as error:
                yield f"{path.relative_to(ROOT)}: {error}"


RULES = (
    an_abstract_class_is_called_so,
    a_class_is_abstract_or_final,
    no_concrete_method_is_overridden,
    an_abstract_class_holds_no_fields,
    no_import_is_delayed,
    a_lazy_module_is_of_its_own_room,
    a_library_is_used_in_its_room_only,
    no_function_is_long,
    no_file_is_long,
    a_room_says_what_it_is_and_what_it_uses,
    a_public_name_is_documented,
    a_public_method_is_documented,
    a_public_array_has_a_shape,
    a_citation_is_in_the_bibliography,
    no_file_names_a_folder_of_one_machine,
    the_code_in_the_documents_compiles,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule):
    broken = sorted(set(rule()))
    assert not broken, "\n".join(["", *broken])


def test_imports_point_one_way():
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0
